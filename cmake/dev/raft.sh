# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# libraft 0.22.1 from bookworm-backports, unpacked under build/deps: no system source is touched.
#
# A private apt root (its own lists and cache) takes the address of the machine's own Debian
# mirror, asks it for the backports suite and downloads one package, checked by the signature of
# Debian's archive. A .deb of that version already in build/deps is used without the network.

raft_version=0.22.1
raft_dir=$root/build/deps

raft_unpacked() {
    local header=$raft_dir/raft/usr/include/raft.h
    [ -f "$header" ] && [ "$(awk '$1 == "#define" && $2 ~ /^RAFT_VERSION_(MAJOR|MINOR|RELEASE)$/ {
        v = v (v == "" ? "" : ".") $3 } END { print v }' "$header")" = "$raft_version" ] &&
        [ -n "$(find "$raft_dir/raft/usr/lib" -name libraft.a -print -quit 2>/dev/null)" ]
}

raft_deb() {
    find "$raft_dir" -maxdepth 1 -name "libraft-dev_${raft_version}-*_$(dpkg --print-architecture).deb" \
        -print -quit 2>/dev/null
}

raft_download() {
    local apt=$raft_dir/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg uri log
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' \
        'Component: main' | head -n 1)
    [ -n "$uri" ] || die "apt knows no source of Debian 12 (bookworm) main, so there is nowhere to" \
        "fetch libraft $raft_version from: put libraft-dev_${raft_version}-*.deb into build/deps"
    [ -f "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/etc"
    echo "deb [signed-by=$keyring] $uri bookworm-backports main" >"$apt/etc/sources.list"
    log=$apt/log
    local options=(-o "Dir::Etc::sourcelist=$apt/etc/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::Etc::preferences=$apt/etc/none" -o Dir::Etc::preferencesparts=-
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=
        -o Acquire::Retries=3)
    if ! apt-get "${options[@]}" update >"$log" 2>&1 ||
        ! (cd "$raft_dir" && apt-get "${options[@]}" download "libraft-dev=$raft_version*") \
            >>"$log" 2>&1; then
        tail -n 5 "$log" >&2
        die "could not fetch libraft $raft_version from bookworm-backports (whole log: $log);" \
            "a libraft-dev_${raft_version}-*.deb put into build/deps is used instead"
    fi
}

raft_install() {
    raft_unpacked && return
    [ "$no_install" = 0 ] || die "libraft $raft_version is not in build/deps/raft; run ./dev deps"
    say "fetching libraft $raft_version"
    mkdir -p "$raft_dir"
    [ -n "$(raft_deb)" ] || raft_download
    rm -rf "$raft_dir/raft"
    dpkg -x "$(raft_deb)" "$raft_dir/raft"
    raft_unpacked || die "build/deps holds a libraft that is not $raft_version: run" \
        "'rm -r build/deps' and try again"
}
