/* A checkpoint file as somebody may hand it to us, loaded into a store. Checksums are set right
 * where their place can be found, so that what stands behind them is reached. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "consensus/checkpoint.h"
#include "os/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const tables[] = {"one", "two"};

static void right_checksums(uint8_t *p, size_t size)
{
    if (size < 20 || memcmp(p, "DRFTCHKP", 8) != 0) {
        return;
    }
    size_t at = 20 + (size_t)chassis_get_le32(p + 12);
    if (at > size) {
        return;
    }
    chassis_put_le32(p + 16, chassis_crc32c(chassis_crc32c(0, p, 16), p + 20, at - 20));
    while (at + 8 <= size) {
        size_t len = chassis_get_le32(p + at);
        len = len == 0xffffffffU ? 24 : len;
        if (len > size - at - 8) {
            return;
        }
        chassis_put_le32(p + at + 4, chassis_crc32c(0, p + at + 8, len));
        at += 8 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chassis_repository_options o = {.path = "x", .tables = tables, .n_tables = 2};
    struct chassis_sim *sim = chassis_sim_new(1);
    struct chassis_disk *disk = chassis_sim_disk(chassis_sim_host_new(sim, "h"));
    struct chassis_store *store;
    struct chassis_txn *txn;
    struct checkpoint_header h = {0};
    uint8_t *copy = malloc(size + 1);
    memcpy(copy, data, size);
    right_checksums(copy, size);
    CHASSIS_ASSERT(disk->ops->mkdir(disk, "/d") == 0);
    CHASSIS_ASSERT(chassis_disk_replace_file(disk, "/d/c", chassis_view(copy, size), NULL) == 0);
    CHASSIS_ASSERT(chassis_repository_memory.open(&o, &store, NULL) == 0);
    CHASSIS_ASSERT(chassis_store_begin(store, true, &txn, NULL) == 0);
    if (checkpoint_load(disk, "/d/c", txn, &h, NULL) == 0) {
        checkpoint_header_fini(&h);
    }
    chassis_txn_abort(txn);
    chassis_store_close(store);
    chassis_sim_free(sim);
    free(copy);
    return 0;
}
