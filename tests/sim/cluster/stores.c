/* Stores of real files: what a machine's end does to them. Nothing in them is synced, so after a
 * loss of power anything may be there; a killed process loses nothing. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

void stores_open(struct cluster *c)
{
    if (!c->config->lmdb) {
        return;
    }
    for (unsigned i = 0; i < c->n; i++) {
        snprintf(c->nodes[i].store_directory, sizeof c->nodes[i].store_directory, "%s/%llu-n%u",
                 c->config->directory, (unsigned long long)c->config->seed, i + 1);
        CHASSIS_ASSERT(mkdir(c->nodes[i].store_directory, 0700) == 0 || errno == EEXIST);
    }
}

static void each_file(struct node *node, void (*fn)(struct node *node, const char *path))
{
    DIR *directory = opendir(node->store_directory);
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char path[800];
        snprintf(path, sizeof path, "%s/%s", node->store_directory, entry->d_name);
        if (entry->d_name[0] != '.') {
            fn(node, path);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

static void cut(struct node *node, const char *path)
{
    struct stat st;
    CHASSIS_ASSERT(stat(path, &st) == 0);
    CHASSIS_ASSERT(
        truncate(path, (off_t)chassis_prng_below(&node->c->prng, (uint64_t)st.st_size + 1)) == 0);
}

static void scribble(struct node *node, const char *path)
{
    struct stat st;
    FILE *file = fopen(path, "r+b");
    CHASSIS_ASSERT(file != NULL && stat(path, &st) == 0);
    for (unsigned i = 0; i < 8 && st.st_size != 0; i++) {
        long at = (long)chassis_prng_below(&node->c->prng, (uint64_t)st.st_size);
        CHASSIS_ASSERT(fseek(file, at, SEEK_SET) == 0 && fputc(0x5a, file) != EOF);
    }
    fclose(file);
}

static void drop(struct node *node, const char *path)
{
    CHASSIS_ASSERT(unlink(path) == 0);
}

static void keep(struct node *node, const char *path)
{
}

void stores_lose_power(struct node *node)
{
    static void (*const ends[])(struct node *, const char *) = {keep, cut, scribble, drop};
    if (node->c->config->lmdb) {
        each_file(node, ends[chassis_prng_below(&node->c->prng, 4)]);
    }
}

/* While the node is down its operator removes the store: what a store in memory goes through at
 * every start. */
void stores_damage(struct node *node)
{
    if (node->c->config->lmdb) {
        each_file(node, drop);
    }
}

void stores_remove(struct cluster *c)
{
    for (unsigned i = 0; i < c->n && c->config->lmdb; i++) {
        each_file(&c->nodes[i], drop);
        rmdir(c->nodes[i].store_directory);
    }
}
