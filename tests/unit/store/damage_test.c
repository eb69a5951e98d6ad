/* A flipped bit anywhere in an LMDB file: whatever opens has every key, in order and by search. */
#include "tests/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chassis/plugin/repository.h>

#include "base/prng.h"

enum { KEYS = 3000, FLIPS = 300 };
static const char *const tables[] = {"records"};
static char directory[256];

static int open_store(struct chassis_store **ret_store)
{
    struct chassis_repository_options options = {
        .path = directory, .size_max_bytes = 1 << 26, .tables = tables, .n_tables = 1};
    struct chassis_error err = {0};
    int rc = chassis_repository_lmdb.open(&options, ret_store, &err);
    if (rc != 0 && strstr(err.text, directory) == NULL) {
        fail_msg("the store is not named: %s", err.text);
    }
    return rc;
}

static struct chassis_view key_of(uint32_t i, char out[32])
{
    return chassis_view(out, (size_t)snprintf(out, 32, "key/%08u", i));
}

/* In several transactions, so that the file holds old pages too. */
static void fill(void)
{
    struct chassis_store *store;
    assert_int_equal(open_store(&store), 0);
    for (uint32_t i = 0; i < KEYS;) {
        struct chassis_txn *txn;
        assert_int_equal(chassis_store_begin(store, true, &txn, NULL), 0);
        for (uint32_t end = i + 100; i < end; i++) {
            char key[32], value[64];
            uint32_t shuffled = i * 7919 % KEYS;
            memset(value, 'v', sizeof value);
            assert_int_equal(
                chassis_txn_put(txn, 0, key_of(shuffled, key), chassis_view(value, sizeof value)),
                0);
        }
        assert_int_equal(chassis_txn_commit(txn, NULL), 0);
    }
    assert_int_equal(chassis_store_sync(store, NULL), 0);
    chassis_store_close(store);
}

enum { RIGHT = 0, REFUSED = 3, WRONG = 4 };

static int look(void)
{
    struct chassis_store *store;
    struct chassis_txn *txn;
    struct chassis_view value;
    if (open_store(&store) != 0) {
        return REFUSED;
    }
    if (chassis_store_begin(store, false, &txn, NULL) != 0) {
        return REFUSED;
    }
    unsigned there = 0, strange = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        char key[32];
        there += chassis_txn_get(txn, 0, key_of(i, key), &value) == 0;
    }
    struct chassis_cursor *cursor;
    struct chassis_view key;
    if (chassis_cursor_open(txn, 0, &cursor) != 0) {
        return REFUSED;
    }
    while (chassis_cursor_next(cursor, &key, &value) == 0) {
        unsigned number;
        char text[64], again[32];
        snprintf(text, sizeof text, "%.*s", (int)key.len, (const char *)key.data);
        bool ours = sscanf(text, "key/%8u", &number) == 1 && number < KEYS &&
                    chassis_view_eq(key, key_of(number, again));
        strange += !ours; /* a changed key, which its writer's checksum finds */
    }
    return there + strange == KEYS ? RIGHT : WRONG;
}

/* In a process of its own: LMDB may crash on what it finds. */
static int look_apart(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
        for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
            signal(fatal[i], SIG_DFL); /* cmocka's would go on with the test here */
        }
        alarm(20); /* nor may it search for ever */
        _exit(look());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        fail_msg("it searches for ever");
    }
    return WIFEXITED(status) && WEXITSTATUS(status) <= WRONG ? WEXITSTATUS(status) : REFUSED;
}

static void flip(const char *path, off_t at, unsigned bit)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1u << bit);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void no_flipped_bit_hides_a_record(void **state)
{
    char path[300];
    struct stat st;
    struct chassis_prng prng;
    unsigned refused = 0;
    chassis_prng_init(&prng, 11);
    test_tmpdir(directory);
    fill();
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    assert_int_equal(stat(path, &st), 0);
    for (unsigned i = 0; i < FLIPS; i++) {
        /* Half of them where pages are bound together: their first bytes. */
        uint64_t at = chassis_prng_below(&prng, (uint64_t)st.st_size);
        at = i % 2 == 0 ? at / 4096 * 4096 + at % 256 : at;
        unsigned bit = (unsigned)chassis_prng_below(&prng, 8);
        flip(path, (off_t)at, bit);
        int found = look_apart();
        if (found == WRONG) {
            fail_msg("bit %u at %llu hides a record", bit, (unsigned long long)at);
        }
        refused += found == REFUSED;
        flip(path, (off_t)at, bit);
    }
    assert_true(refused > FLIPS / 20); /* so the flips meant something */
    assert_int_equal(look_apart(), RIGHT);
    test_rmtree(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_flipped_bit_hides_a_record)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
