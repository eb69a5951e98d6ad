#include "offline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "consensus/checkpoint.h"
#include "consensus/restore.h"
#include "journal/journal.h"
#include "journal/slots.h"
#include "os/disk.h"
#include "runtime/runtime.h"
#include "verify.h"

struct job {
    struct chassis_disk *disk;
    char directory[512]; /* of consensus: identity, term, checkpoints, journal/, store/ */
    unsigned faults;
};

static void fault(const char *text, void *data)
{
    struct job *job = data;
    job->faults++;
    printf("damaged: %s\n", text);
}

static void report(struct job *job, int rc, const struct chassis_error *err)
{
    if (rc != 0) {
        fault(chassis_error_text(err), job);
    }
}

static void verify_journal(struct job *job)
{
    char path[600];
    struct chassis_error err = {0};
    unsigned before = job->faults;
    snprintf(path, sizeof path, "%s/store.state", job->directory);
    bool started = access(path, F_OK) == 0;
    snprintf(path, sizeof path, "%s/journal", job->directory);
    if (!started && access(path, F_OK) != 0 && errno == ENOENT) {
        return; /* restored, and not started yet: the checkpoint is everything */
    }
    int rc = chassis_journal_verify(job->disk, path, fault, job, &err);
    if (rc != 0 && job->faults == before) {
        report(job, rc, &err);
    }
}

static void verify_checkpoint(struct job *job)
{
    struct chassis_error err = {0};
    struct checkpoint_header header;
    uint64_t index = 0;
    char path[512];
    memset(&header, 0, sizeof header);
    int rc = checkpoint_newest(job->disk, job->directory, false, &index, &err);
    if (rc == 0 && index != 0) {
        checkpoint_path(job->directory, index, path);
        rc = checkpoint_load(job->disk, path, NULL, &header, &err);
        checkpoint_header_fini(&header);
    }
    report(job, rc, &err);
}

static void verify_term(struct job *job)
{
    char path[600];
    struct chassis_slots *slots;
    struct chassis_buf value = {0};
    struct chassis_error err = {0};
    snprintf(path, sizeof path, "%s/term", job->directory);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return; /* never started: opening would make it */
    }
    fclose(f);
    int rc = chassis_slots_open(job->disk, path, &slots, &value, &err);
    if (rc == 0) {
        chassis_slots_close(slots);
    }
    chassis_buf_fini(&value);
    report(job, rc, &err);
}

static int remove_file(const char *name, void *data)
{
    char path[1200];
    struct chassis_disk *disk = chassis_disk_posix();
    snprintf(path, sizeof path, "%s/%s", (const char *)data, name);
    return disk->ops->unlink(disk, path);
}

static void verify_store(struct job *job, bool repair)
{
    char path[600], data[700];
    struct chassis_error err = {0};
    unsigned before = job->faults;
    snprintf(path, sizeof path, "%s/store", job->directory);
    snprintf(data, sizeof data, "%s/data.mdb", path);
    FILE *f = fopen(data, "re");
    if (f == NULL) {
        return; /* a cache: it is filled from checkpoint and journal */
    }
    fclose(f);
    const char *tables[BP_TABLES + 1];
    memcpy(tables, bp_tables, sizeof bp_tables);
    tables[BP_TABLES] = CHASSIS_CONSENSUS_TABLE;
    struct chassis_repository_options options = {
        .path = path, .tables = tables, .n_tables = BP_TABLES + 1};
    struct chassis_store *store;
    int rc = chassis_repository_lmdb.open(&options, &store, &err);
    if (rc == 0) {
        rc = bp_verify_store(store, data, fault, job, &err);
        chassis_store_close(store);
    }
    report(job, rc, &err);
    if (job->faults == before) {
        return;
    }
    if (repair && job->disk->ops->list(job->disk, path, remove_file, path) == 0) {
        printf("repaired: '%s' is removed; the next start fills it from checkpoint and journal\n",
               path);
    } else {
        printf("repair: run again with --repair to drop '%s'; the next start fills it from "
               "checkpoint and journal\n",
               path);
    }
}

static int verify(const struct chassis_settings *settings, bool repair)
{
    struct job job = {.disk = chassis_disk_posix()};
    struct chassis_file *lock = NULL;
    snprintf(job.directory, sizeof job.directory, "%s/consensus", settings->data_directory);
    int rc = job.disk->ops->lock(job.disk, job.directory, &lock);
    if (rc != 0) {
        fprintf(stderr, "cannot lock '%s': %s (is the node running? stop it first)\n",
                job.directory, chassis_status_text(rc));
        return 1;
    }
    verify_term(&job);
    verify_checkpoint(&job);
    verify_journal(&job);
    verify_store(&job, repair);
    job.disk->ops->close(lock);
    if (job.faults == 0) {
        printf("sound: '%s'\n", job.directory);
    }
    return job.faults == 0 ? 0 : 1;
}

/* True if the word is there; it is taken out. */
static bool take(int *argc, char **argv, const char *word)
{
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], word) == 0) {
            memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof *argv);
            --*argc;
            return true;
        }
    }
    return false;
}

/* The word behind `word`, or NULL; both are taken out. "" if nothing stands behind it. */
static const char *take_value(int *argc, char **argv, const char *word)
{
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], word) == 0) {
            const char *value = i + 1 < *argc ? argv[i + 1] : "";
            int n = i + 1 < *argc ? 2 : 1;
            memmove(&argv[i], &argv[i + n], (size_t)(*argc - i - n + 1) * sizeof *argv);
            *argc -= n;
            return value;
        }
    }
    return NULL;
}

static const char *restore_file, *restore_id;

int bp_run(struct chassis *c)
{
    return restore_file != NULL ? chassis_runtime_restore(c, restore_file, restore_id)
                                : chassis_run(c);
}

bool bp_offline(int *all, char **argv, int *ret_code)
{
    restore_file = take_value(all, argv, "--restore");
    restore_id = take_value(all, argv, "--restore-id");
    int argc = *all;
    char **words = chassis_base_zalloc(((size_t)argc + 1) * sizeof *words);
    memcpy(words, argv, (size_t)argc * sizeof *words);
    bool asked = take(&argc, words, "--verify"), repair = take(&argc, words, "--repair");
    if (asked) {
        static struct chassis_settings settings;
        const struct chassis_config_key *const tables[] = {chassis_settings_table, NULL};
        void *const structs[] = {&settings};
        struct chassis_config_source source = {
            .tables = tables, .structs = structs, .argc = argc, .argv = words};
        struct chassis_config *config = NULL;
        struct chassis_buf problems = {0};
        int rc = chassis_config_load(&source, &config, &problems, NULL);
        if (rc != 0) {
            fprintf(stderr, "%.*s\n", CHASSIS_VIEW_ARG(chassis_buf_view(&problems)));
        }
        *ret_code = rc != 0 ? 2 : verify(&settings, repair);
        chassis_buf_fini(&problems);
        chassis_config_free(config);
    }
    free(words);
    return asked;
}
