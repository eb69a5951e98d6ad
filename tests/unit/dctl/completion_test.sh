#!/usr/bin/env bash
# The completion scripts in the shells they are made for: what a user gets after pressing Tab.
set -euo pipefail
dctl=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

check() { # NAME GOT EXPECTED-WORD…
    local name=$1 got=" ${2//$'\n'/ } " word
    shift 2
    for word in "$@"; do
        case $word in
        !*) [[ $got != *" ${word#!} "* ]] || { echo "$name: offers '${word#!}': $got"; failed=1; } ;;
        *) [[ $got == *" $word "* ]] || { echo "$name: does not offer '$word': $got"; failed=1; } ;;
        esac
    done
}

for shell in bash zsh fish; do
    "$dctl" completion $shell >"$dir/$shell"
done

# bash
in_bash() { # words typed; the last one is completed
    bash --norc -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dctl
        printf "%s\n" "${COMPREPLY[@]}"' bash "$dir/bash" "$@"
}
bash -n "$dir/bash"
check "bash: first word" "$(in_bash dctl '')" kv services cluster call run completion version !set
check "bash: group" "$(in_bash dctl kv '')" set get del list watch cas txn !services
check "bash: beginning" "$(in_bash dctl services w)" watch !list
check "bash: options" "$(in_bash dctl kv list --)" --limit --type --endpoint --output !--from
check "bash: after an option's value" "$(in_bash dctl --endpoint h:1 kv '')" set txn !services
check "bash: after an argument" "$(in_bash dctl kv get key --)" --stale --at
check "bash: routes" "$(in_bash dctl routes '')" add list get delete history diff rollback explain validate
check "bash: options of routes" "$(in_bash dctl routes add x --)" --prefix --service --dry-run --file
check "bash: formats" "$(in_bash dctl kv list -o '')" table json yaml
check "bash: shells" "$(in_bash dctl completion '')" bash zsh fish

# fish
if command -v fish >/dev/null; then
    in_fish() { fish --no-config -c "source $dir/fish; complete -C '$1'" | cut -f 1; }
    fish -n "$dir/fish"
    check "fish: first word" "$(in_fish 'dctl ')" kv services version !set
    check "fish: group" "$(in_fish 'dctl kv ')" set get txn !services
    check "fish: options" "$(in_fish 'dctl kv list --')" --limit --endpoint !--from
    check "fish: formats" "$(in_fish 'dctl kv list -o ')" table json yaml
else
    echo "fish is not installed"
    failed=1
fi

# zsh: _dctl run outside of its widget, with compadd as a recorder
if command -v zsh >/dev/null; then
    in_zsh() {
        zsh -f -c 'compdef() { :; }; _files() { :; }
            compadd() { [[ $1 == -- ]] && shift; print -l -- "$@"; }
            source "$1"; shift; words=("$@"); CURRENT=$#; _dctl' zsh "$dir/zsh" "$@"
    }
    zsh -n "$dir/zsh"
    check "zsh: first word" "$(in_zsh dctl '')" kv services version !set
    check "zsh: group" "$(in_zsh dctl kv '')" set get txn !services
    check "zsh: options" "$(in_zsh dctl kv list '')" --limit --endpoint !--from
    check "zsh: formats" "$(in_zsh dctl kv list -o '')" table json yaml
else
    echo "zsh is not installed"
    failed=1
fi
exit $failed
