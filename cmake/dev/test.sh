# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# Running tests with ctest, counting what ran, and the closing line.
#
# The unit of counting is one ctest test (one program of many checks). Whatever ctest lists but
# did not run, for any reason, counts as failed; so does a run that finds no test at all.

tests_passed=0
tests_failed=0
test_all=0 # 1: the long form of tests that have one (DRAFT_ALL in their environment)

# ctest's output, shortened: one line per test; the output of failing tests in full.
ctest_filter() {
    awk '
        /^ *[0-9]+\/[0-9]+ Test +#/ {
            if ($0 ~ / Passed +[0-9.]+ sec/) { sub(/ Test +#[0-9]+:/, ""); gsub(/\.\.\.+ */, " ") }
            print; fflush(); show = $0 !~ / Passed /; next
        }
        /^ *Start +[0-9]+:/ { next }
        /^(Test project|[0-9]+% tests passed|Label Time Summary|Total Test time|The following tests)/ {
            show = 0 }
        show { print; fflush() }
    '
}

# run_ctest PRESET [ctest options…]
run_ctest() {
    local dir=$root/build/$1 xml=$root/build/$1/ctest.xml total passed
    shift
    rm -f "$xml"
    mkdir -p "$dir/tmp"
    # A failing test shows in the counts, not in the exit code of the pipe.
    { DRAFT_ALL=$test_all ctest --test-dir "$dir" -j "$jobs" --output-on-failure --no-tests=error \
        --output-junit "$xml" "$@" 2>&1 || true; } | ctest_filter
    total=0 passed=0
    if [ -f "$xml" ]; then
        total=$(grep -c '<testcase ' "$xml" || true)
        passed=$(grep -c '<testcase .*status="run"' "$xml" || true)
    fi
    if [ "$total" = 0 ]; then
        say "no test ran (ctest $*)"
        total=1
    fi
    tests_passed=$((tests_passed + passed))
    tests_failed=$((tests_failed + total - passed))
}

# test_in PRESET 'LABELS' [PATTERN]: build the preset, run its tests with one of the labels
# (a regular expression).
test_in() {
    local options=(-L "$2")
    [ -z "${3:-}" ] || options+=(-R "$3")
    say "$1: building"
    build "$1"
    say "$1: testing"
    run_ctest "$1" "${options[@]}"
}

cmd_test() {
    local preset=release pattern='' all_labels='.' sanitized='^(unit|fuzz|integration|sim)$'
    local threaded='^(unit|integration)$'
    test_all=0
    while [ $# -gt 0 ]; do
        case $1 in
        --asan | --tsan) preset=${1#--} ;;
        --all) preset=all ;;
        --ci) preset=ci ;;
        -*) usage_error "test: unknown option '$1'" ;;
        *) [ -z "$pattern" ] || usage_error "test: one pattern only"
           pattern=$1 ;;
        esac
        shift
    done
    deps_install build test
    case $preset in
    release) test_in release "$all_labels" "$pattern" ;;
    asan) test_in asan "$sanitized" "$pattern" ;;
    tsan) test_in tsan "$threaded" "$pattern" ;;
    ci)
        test_in release "$all_labels" "$pattern"
        test_in asan "$sanitized" "$pattern"
        ;;
    all)
        test_all=1
        test_in release "$all_labels" "$pattern"
        test_in asan "$sanitized" "$pattern"
        test_in tsan "$threaded" "$pattern"
        ;;
    esac
    echo "$tests_passed passed, $tests_failed failed"
    [ "$tests_failed" = 0 ]
}
