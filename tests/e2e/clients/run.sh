#!/usr/bin/env bash
# Install the clients once under the build tree and run one of the test files, or a client that a test
# elsewhere drives:  run.sh NAME.test.mjs|NAME.mjs
# A client that cannot be installed is a failure, not a skip.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$DRAFT_SOURCE/build/deps/foreign-clients
mkdir -p "$work"
exec 9>"$work/lock"
flock 9
if ! cmp -s "$here/package.json" "$work/package.json"; then
    cp "$here/package.json" "$work/package.json.new"
    (cd "$work" && mv package.json.new package.json && rm -rf node_modules package-lock.json &&
        npm install --no-audit --no-fund --loglevel=error >&2) || { rm -f "$work/package.json"; exit 1; }
fi
cp "$here"/*.mjs "$work"
flock -u 9
cd "$work"
case $1 in
*.test.mjs) exec node --test --test-concurrency=1 "$1" ;;
*) exec node "$@" ;;
esac
