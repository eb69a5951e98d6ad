# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# Installing what is missing: the packages of cmake/packages.txt, and libraft.

# The packages of the groups given, one per line as in the file.
packages_of() {
    awk -v want=" $* " '/^#/ || NF == 0 { next }
        /^\[/ { gsub(/[][]/, ""); on = index(want, " " $1 " "); next }
        on' "$root/cmake/packages.txt" | sort -u
}

packages_missing() {
    local installed package command
    # shellcheck disable=SC2016 # a format of dpkg-query
    installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' 2>/dev/null | sed -n 's/^ii //p')
    packages_of "$@" | while read -r package command; do
        if [ -n "$command" ] && command -v "$command" >/dev/null; then
            continue
        fi
        grep -qxF "$package" <<<"$installed" || echo "$package"
    done
}

# Runs as root. Nothing that is installed here may start a daemon: etcd and prometheus are only
# used as programs. policy-rc.d (invoke-rc.d(8)) forbids the start during installation; where
# systemd runs, the new units are disabled so that they do not start with the machine either.
install_script='
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap "rm -f $policy" EXIT
    printf "#!/bin/sh\nexit 101\n" >$policy
    chmod 755 $policy
fi
apt-get update -q || echo "apt-get update failed; trying with the lists there are"
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
if [ -d /run/systemd/system ]; then
    for unit in etcd prometheus; do
        case " $* " in
        *" $unit "* | *" $unit-server "*) systemctl disable --now --quiet $unit || true ;;
        esac
    done
fi
'

# deps_install GROUP…: packages of the groups, then libraft.
deps_install() {
    local missing as_root=() log=$root/build/deps/install.log
    [ -f /etc/debian_version ] || die "this is not Debian: ./dev is made for Debian 12; install the" \
        "equivalents of cmake/packages.txt by hand and use cmake --preset release"
    mapfile -t missing < <(packages_missing "$@")
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$no_install" = 1 ]; then
            say "missing packages (apt-get install --no-install-recommends …):"
            printf '  %s\n' "${missing[@]}" >&2
            exit 3
        fi
        if [ "$(id -u)" != 0 ]; then
            say "packages to install:"
            printf '  %s\n' "${missing[@]}" >&2
            command -v sudo >/dev/null ||
                die "installing them needs root and there is no sudo: have them installed, then run this again"
            as_root=(sudo)
        fi
        say "installing ${#missing[@]} packages: ${missing[*]}"
        mkdir -p "$root/build/deps"
        if ! "${as_root[@]}" sh -c "$install_script" sh "${missing[@]}" >"$log" 2>&1 </dev/null; then
            tail -n 15 "$log" >&2
            die "apt-get could not install them (whole log: $log)"
        fi
    fi
    raft_install
}
