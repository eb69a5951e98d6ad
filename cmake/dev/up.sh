# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# ./dev up and down: a Blueprint of one or three nodes, Catalyst, Fuse with its HAProxy and the examples
# under `dctl run`.
#
# Everything is under build/up: one folder per size of cluster with its draft.yaml, data, log and
# (while it runs) the pid of dctl in `pid`. A second run goes on with the stored data.

up_grpc() { echo $(($1 == 1 ? 2221 : 2230 + $2)); } # NODES NTH
up_http() { echo $(($1 == 1 ? 2321 : 2330 + $2)); }
up_entry=8080 # where requests from outside come in: HAProxy

# HAProxy's sockets want a short path.
up_haproxy_directory() { # DIRECTORY
    local directory=$1/haproxy
    [ ${#directory} -le 80 ] || directory=/tmp/draft-up-$(id -u)-$(cksum <<<"$1" | cut -d ' ' -f 1)
    echo "$directory"
}

# Fuse ends it; one that was killed could not.
down_haproxy() { # DIRECTORY
    local home pid
    home=$(up_haproxy_directory "$1")
    [ -f "$home/haproxy.pid" ] || return 0
    read -r pid <"$home/haproxy.pid" || return 0
    ! grep -qs "$home" "/proc/$pid/cmdline" || kill -TERM "$pid" || true
}

# One service of the draft.yaml: NAME 'AFTER' GRPC-PORT HTTP-PORT FLAG…
up_service() {
    local name=$1 after=$2 grpc=$3 http=$4 flag
    shift 4
    cat <<YAML
  - name: $name
    after: [$after]
    health: http://127.0.0.1:$http/readyz
    command:
      - ${name%%-[0-9]}
      - --service.network.bind_port=$grpc
      - --service.network.http_port=$http
      - --service.data_directory=$up_dir/$name
YAML
    for flag in "$@"; do
        echo "      - $flag"
    done
}

up_write_project() {
    local nodes=$1 n members='' entrypoints='' endpoints='' names=''
    for ((n = 1; n <= nodes; n++)); do
        members+=${members:+,}n$n@127.0.0.1:$(up_grpc "$nodes" $n)
        entrypoints+=${entrypoints:+,}http://127.0.0.1:$(up_grpc "$nodes" $n)
        endpoints+=${endpoints:+, }127.0.0.1:$(up_grpc "$nodes" $n)
        names+=${names:+, }blueprint-$n
    done
    up_endpoint=${endpoints// /}
    if [ ! -f "$up_dir/cluster-secret" ]; then
        (umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$up_dir/cluster-secret")
    fi
    {
        echo "name: up"
        echo "endpoint: [$endpoints]"
        echo "events_endpoint: 127.0.0.1:2220"
        echo "services:"
        for ((n = 1; n <= nodes; n++)); do
            up_service "blueprint-$n" "" "$(up_grpc "$nodes" $n)" "$(up_http "$nodes" $n)" \
                --raft.node-id=n$n "--raft.members=$members" \
                "--raft.secret_file=$up_dir/cluster-secret" \
                --brokers.catalyst.url=http://127.0.0.1:2220
        done
        up_service catalyst "$names" 2220 2320 "--service.entrypoint=$entrypoints"
        up_service fuse "$names" 18000 18001 "--service.entrypoint=$entrypoints" \
            --fuse.listener.port=$up_entry --fuse.haproxy.enabled --fuse.haproxy.stop \
            "--fuse.haproxy.directory=$(up_haproxy_directory "$up_dir")"
        up_service echo catalyst 8090 8091 "--service.entrypoint=$entrypoints" \
            --brokers.catalyst.url=catalyst
        up_service crud "$names" 8092 8093 "--service.entrypoint=$entrypoints"
        up_service audit catalyst 8094 8095 "--service.entrypoint=$entrypoints" \
            --brokers.catalyst.url=catalyst
    } >"$up_dir/draft.yaml"
}

up_running() { [ -f "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null; }

# Wait until dctl run says that all are healthy.
up_wait() {
    local i
    for ((i = 0; i < 600; i++)); do
        [ ! -f "$up_dir/ready" ] || return 0
        up_running "$up_dir" || break
        sleep 0.1
    done
    tail -n 15 "$up_dir/log" >&2
    down_one "$up_dir"
    die "not everything became healthy (whole log: $up_dir/log); a port may be in use," \
        "or the stored data is of another version (./dev clean forgets it)"
}

# The examples register in the background once they are ready.
up_wait_registered() {
    local i name
    for name in catalyst fuse echo crud audit; do
        for ((i = 0; i < 100; i++)); do
            ! "$root/build/release/bin/dctl" --endpoint "$up_endpoint" services get $name \
                >/dev/null 2>&1 || continue 2
            sleep 0.1
        done
        die "$name does not appear in the registry (log: $up_dir/log)"
    done
}

# A step of the conversation: what is typed, and what came back.
up_try() {
    local answer word
    printf '   $'
    for word in "$@"; do
        case $word in
        *[[:space:]\{\"*]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    echo
    answer=$("$@" 2>&1) || { printf '%s\n' "$answer" >&2; return 1; }
    printf '%s\n' "$answer" | sed 's/^/     /'
    up_answer=$answer
}

# What echo was told last arrives at audit.
up_wait_audit() { # BEFORE
    local i
    for ((i = 0; i < 100; i++)); do
        [ "$(up_audited)" -le "$1" ] || return 0
        sleep 0.1
    done
    say "audit does not hear what echo is told (log: $up_dir/log)"
    return 1
}

up_audited() {
    curl -sS --fail http://127.0.0.1:8095/metrics | awk '$1 == "audit_events_total" { n = $2 } END { print n + 0 }'
}

up_smoke() {
    local dctl=(dctl --endpoint "$up_endpoint") call=examples.echo.v1.EchoService/Speak audited
    audited=$(up_audited) || return 1
    PATH=$root/build/release/bin:$PATH
    say "a short conversation"
    up_try "${dctl[@]}" kv set greeting "hello from $(hostname)" &&
        up_try "${dctl[@]}" kv get greeting && [ "$up_answer" = "hello from $(hostname)" ] &&
        up_try "${dctl[@]}" services list && [[ $up_answer == *echo* && $up_answer == *crud* ]] &&
        up_try curl -sS --fail -H 'content-type: application/json' -d '{"input":"by JSON"}' \
            "http://127.0.0.1:8091/$call" && [[ $up_answer == *"by JSON"* ]] &&
        up_try "${dctl[@]}" call "$call" -d '{"input":"by name"}' --service echo &&
        [[ $up_answer == *"by name"* ]] &&
        up_wait_audit $((audited + 1)) &&
        up_try dctl --endpoint 127.0.0.1:2220 events consume --from earliest --until-end --type 'echo.*' &&
        [[ $up_answer == *"by JSON"*"by name"* ]] &&
        up_try dctl --endpoint 127.0.0.1:2220 groups list && [[ $up_answer == *default/audit* ]] &&
        up_smoke_entry "$call"
}

# Through the entry port, where routes decide: HTTP and gRPC.
up_smoke_entry() { # METHOD
    local routes=(dctl --endpoint 127.0.0.1:18000)
    up_wait_entry "$1" &&
        up_try "${routes[@]}" routes list && [[ $up_answer == *default-echo*echo-grpc* ]] &&
        up_try curl -sS --fail -H 'content-type: application/json' -d '{"input":"by the entry"}' \
            "http://127.0.0.1:$up_entry/$1" && [[ $up_answer == *"by the entry"* ]] &&
        up_try dctl --endpoint "$up_endpoint" call "$1" -d '{"input":"by gRPC"}' --service echo \
            --through "127.0.0.1:$up_entry" && [[ $up_answer == *"by gRPC"* ]] &&
        up_try "${routes[@]}" routes explain POST "http://127.0.0.1:$up_entry/$1" \
            -H 'content-type: application/grpc' && [[ $up_answer == *"winner  echo-grpc"* ]] &&
        up_try "${routes[@]}" proxies list && [[ $up_answer == *haproxy* ]]
}

# HAProxy has the routes of echo.
up_wait_entry() { # METHOD
    local i
    for ((i = 0; i < 200; i++)); do
        ! curl -sS --fail -o "$up_dir/answer" -H 'content-type: application/json' -d '{"input":""}' \
            "http://127.0.0.1:$up_entry/$1" 2>/dev/null || return 0
        sleep 0.1
    done
    say "the entry port $up_entry does not lead to echo (log: $up_dir/log)"
    return 1
}

up_summary() {
    local nodes=$1 n
    say "running"
    for ((n = 1; n <= nodes; n++)); do
        printf '   blueprint-%d  gRPC 127.0.0.1:%d  HTTP http://127.0.0.1:%d  data %s\n' $n \
            "$(up_grpc "$nodes" $n)" "$(up_http "$nodes" $n)" "build/up/$nodes/blueprint-$n"
    done
    printf '   catalyst     gRPC 127.0.0.1:2220  HTTP http://127.0.0.1:2320  data build/up/%d/catalyst\n' "$nodes"
    printf '   fuse         gRPC 127.0.0.1:18000  HTTP http://127.0.0.1:18001\n'
    printf '   entry port   http://127.0.0.1:%d  (HAProxy: gRPC and HTTP, by routes)\n' "$up_entry"
    printf '   echo         gRPC 127.0.0.1:8090  HTTP http://127.0.0.1:8091\n'
    printf '   crud         gRPC 127.0.0.1:8092  HTTP http://127.0.0.1:8093\n'
    printf '   audit        gRPC 127.0.0.1:8094  HTTP http://127.0.0.1:8095\n'
    printf '   output of all: build/up/%d/log\n' "$nodes"
    say "worth trying (in another terminal)"
    cat <<TEXT
   export PATH=$root/build/release/bin:\$PATH DRAFT_ENDPOINT=$up_endpoint
   dctl cluster status
   dctl kv watch                        # and elsewhere: dctl kv set color blue
   dctl call examples.crud.v1.CrudService/Create -d '{"name":{"firstName":"Ada"}}' --service crud
   curl -d '{"input":"hi"}' -H content-type:application/json http://127.0.0.1:8091/examples.echo.v1.EchoService/Speak
   dctl events tail                     # and elsewhere: dctl call echo/Speak -d '{"input":"hi"}' --service echo
   dctl events tail blueprint           # every change of records and processes
   dctl events produce --type order.placed '{"amount":5}'
   dctl streams list; dctl groups list
   dctl routes list; dctl proxies list
   dctl routes explain POST http://any/examples.echo.v1.EchoService/Speak -H content-type:application/grpc
   curl -d '{"input":"hi"}' -H content-type:application/json http://127.0.0.1:$up_entry/examples.echo.v1.EchoService/Speak
   curl http://127.0.0.1:$(up_http "$nodes" 1)/metrics
TEXT
}

down_one() { # DIRECTORY
    local i
    if up_running "$1"; then
        kill -TERM "$(cat "$1/pid")"
        for ((i = 0; i < 600; i++)); do
            up_running "$1" || break
            sleep 0.1
        done
        up_running "$1" && die "process $(cat "$1/pid") does not end"
    fi
    down_haproxy "$1"
    rm -f "$1/pid" "$1/ready"
}

cmd_down() {
    local dir found=0
    for dir in "$root"/build/up/*/; do
        dir=${dir%/}
        if up_running "$dir"; then
            say "stopping what runs in build/up/${dir##*/}"
            found=1
        fi
        [ ! -d "$dir" ] || down_one "$dir"
    done
    [ "$found" = 1 ] || say "nothing was running"
}

cmd_up() {
    local nodes=1 detach=0 other
    while [ $# -gt 0 ]; do
        case $1 in
        --nodes) nodes=${2:-}
                 [ $# -lt 2 ] || shift ;;
        --nodes=*) nodes=${1#*=} ;;
        --detach | -d) detach=1 ;;
        *) usage_error "up: unknown option '$1'" ;;
        esac
        shift
    done
    [[ $nodes =~ ^(1|3)$ ]] || usage_error "up: --nodes 1 or --nodes 3"
    for other in "$root"/build/up/*/; do
        ! up_running "${other%/}" || die "it is running already: ./dev down stops it"
    done
    deps_install build
    say "building"
    build release blueprint catalyst fuse dctl echo crud audit protoc-gen-chassis
    up_dir=$root/build/up/$nodes
    mkdir -p "$up_dir"
    rm -f "$up_dir/ready"
    up_write_project "$nodes"
    say "starting $nodes Blueprint node$([ "$nodes" = 1 ] || echo s), Catalyst, Fuse and the examples"
    setsid "$root/build/release/bin/dctl" run -f "$up_dir/draft.yaml" --ready-file "$up_dir/ready" \
        >"$up_dir/log" 2>&1 </dev/null &
    echo $! >"$up_dir/pid"
    trap 'say "stopping"; down_one "$up_dir"; exit 0' INT TERM
    up_wait
    up_wait_registered
    up_smoke || { down_one "$up_dir"; die "the conversation failed (log: build/up/$nodes/log)"; }
    up_summary "$nodes"
    if [ "$detach" = 1 ]; then
        say "./dev down stops it"
        return
    fi
    say "Ctrl-C stops it; from here on the output of all services"
    tail -n 0 -f "$up_dir/log" &
    up_tail=$!
    trap 'kill $up_tail 2>/dev/null; say "stopping"; down_one "$up_dir"; say "stopped"; exit 0' INT TERM
    while up_running "$up_dir"; do
        sleep 1 &
        wait $! || true
    done
    kill $up_tail 2>/dev/null || true
    die "dctl run ended by itself (log: build/up/$nodes/log)"
}
