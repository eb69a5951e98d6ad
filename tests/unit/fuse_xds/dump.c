/* Writes the showcase's resources as files, for clients that are to judge them, as they are given
 * to a client of this name and version:
 *
 *     fuse_xds_dump FOLDER PORT PORT PORT "gRPC C-core linux" "C-core 29.0.0"
 */
#include "fuse/xds/quirk.h"
#include "showcase.h"

struct dump {
    const char *folder;
    bool no_ring_hash;
};

static void dump(struct world *w, enum fuse_type type, const char *name, void *data)
{
    const struct dump *d = data;
    char path[700], file[200];
    showcase_file_name(type, name, file);
    snprintf(path, sizeof path, "%s/%s", d->folder, file);
    struct chassis_view bytes = world_bytes(w, type, name);
    struct chassis_buf without = {0};
    if (type == FUSE_CLUSTER && d->no_ring_hash) {
        fuse_quirk_drop_ring_hash(bytes, &without);
        bytes = chassis_buf_view(&without);
    }
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes.data, 1, bytes.len, f) != bytes.len || fclose(f) != 0) {
        fprintf(stderr, "cannot write '%s'\n", path);
        exit(1);
    }
    chassis_buf_fini(&without);
}

int main(int argc, char **argv)
{
    uint16_t ports[SHOWCASE_PORTS];
    void *state;
    if (argc != 4 + SHOWCASE_PORTS) {
        fprintf(stderr, "usage: %s FOLDER PORT PORT PORT CLIENT VERSION\n", argv[0]);
        return 2;
    }
    for (unsigned i = 0; i < SHOWCASE_PORTS; i++) {
        ports[i] = (uint16_t)strtoul(argv[2 + i], NULL, 10);
    }
    world_set_up(&state);
    showcase_fill(state, ports);
    struct dump d = {argv[1], fuse_quirk_fears_ring_hash(argv[argc - 2], argv[argc - 1])};
    showcase_each(state, dump, &d);
    return world_tear_down(&state);
}
