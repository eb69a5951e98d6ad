/* The bytes of resources are kept: another Fuse must make the same, and foreign decoders read these
 * files (tests/e2e/clients/xds_protos.test.mjs). A change that is meant: remove the file, run with
 * GOLDEN_WRITE=1, and say so in the commit. */
#include "showcase.h"

#include <dirent.h>

struct golden {
    char folder[400];
    unsigned n;
};

static struct chassis_view read_file(struct world *w, const char *path)
{
    struct chassis_buf bytes = {0};
    uint8_t room[4096];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return chassis_view(NULL, 0);
    }
    for (size_t n; (n = fread(room, 1, sizeof room, f)) > 0;) {
        chassis_buf_append(&bytes, room, n);
    }
    fclose(f);
    struct chassis_view kept = chassis_arena_copy(&w->arena, chassis_buf_view(&bytes));
    chassis_buf_fini(&bytes);
    return kept;
}

static void compare(struct world *w, enum fuse_type type, const char *name, void *data)
{
    struct golden *golden = data;
    char path[700], file[200];
    showcase_file_name(type, name, file);
    snprintf(path, sizeof path, "%s/%s", golden->folder, file);
    struct chassis_view now = world_bytes(w, type, name), kept = read_file(w, path);
    golden->n++;
    if (kept.len == 0 && getenv("GOLDEN_WRITE") != NULL) {
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(now.data, 1, now.len, f), now.len);
        fclose(f);
        kept = now;
    }
    if (!chassis_view_eq(now, kept)) {
        fail_msg("the bytes of '%s' are not those of %s", name, path);
    }
}

static void resources_keep_their_bytes(void **state)
{
    static const uint16_t ports[SHOWCASE_PORTS] = {9001, 9002, 9003};
    const char *source = getenv("DRAFT_SOURCE");
    struct golden golden = {0};
    snprintf(golden.folder, sizeof golden.folder, "%s/tests/unit/fuse_xds/golden",
             source != NULL ? source : ".");
    showcase_fill(*state, ports);
    showcase_each(*state, compare, &golden);
    unsigned n_files = 0;
    DIR *folder = opendir(golden.folder);
    assert_non_null(folder);
    for (struct dirent *file; (file = readdir(folder)) != NULL;) {
        n_files += file->d_name[0] != '.';
    }
    closedir(folder);
    assert_int_equal(n_files, golden.n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(resources_keep_their_bytes, world_set_up, world_tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
