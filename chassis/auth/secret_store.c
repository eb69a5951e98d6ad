/* The built-in secret stores: a directory of private files, and the environment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <chassis/plugin/secret_store.h>

#include "auth/internal.h"
#include "base/assert.h"

struct builtin_store {
    struct chassis_secret_store base;
    char *where; /* directory, or prefix of the variables */
};

void chassis_secret_wipe(struct chassis_buf *secret)
{
    chassis_auth_wipe(secret);
}

/* A name is one word: no path, no hidden file, nothing that could leave the directory. */
static int check_name(const char *name, struct chassis_error *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (name[0] == '\0' || name[0] == '.' || strstr(name, "..") != NULL ||
        name[strspn(name, allowed)] != '\0' || strlen(name) > 128) {
        return chassis_error_set(
            err, CHASSIS_INVALID_ARGUMENT,
            "bad secret name '%.128s': up to 128 letters, digits, '-', '_' and "
            "single '.'",
            name);
    }
    return 0;
}

static int file_get(struct chassis_secret_store *base, const char *name,
                    struct chassis_buf *ret_secret, struct chassis_error *err)
{
    const struct builtin_store *store = (const struct builtin_store *)base;
    char path[4096];
    int rc = check_name(name, err);
    if (rc != 0) {
        return rc;
    }
    if (snprintf(path, sizeof path, "%s/%s", store->where, name) >= (int)sizeof path) {
        return chassis_error_set(err, -ENAMETOOLONG, "path of secret '%s' is too long", name);
    }
    struct chassis_buf secret = {0};
    rc = chassis_auth_file_read(path, 077, &secret, err);
    if (rc == -ENOENT) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND, "no secret '%s' in '%s'", name,
                                 store->where);
    }
    if (rc != 0) {
        return rc;
    }
    if (secret.len != 0 && secret.data[secret.len - 1] == '\n') { /* editors end a file so */
        secret.data[--secret.len] = '\0';
    }
    *ret_secret = secret;
    return 0;
}

/* `db-password` is looked for as PREFIX + DB_PASSWORD. */
static int environment_get(struct chassis_secret_store *base, const char *name,
                           struct chassis_buf *ret_secret, struct chassis_error *err)
{
    const struct builtin_store *store = (const struct builtin_store *)base;
    int rc = check_name(name, err);
    if (rc != 0) {
        return rc;
    }
    struct chassis_buf variable = {0};
    chassis_buf_append_str(&variable, store->where);
    for (const char *p = name; *p != '\0'; p++) {
        bool lower = *p >= 'a' && *p <= 'z';
        chassis_buf_append_byte(&variable, lower                    ? (uint8_t)(*p - 'a' + 'A')
                                           : *p == '.' || *p == '-' ? '_'
                                                                    : (uint8_t)*p);
    }
    const char *value = getenv((const char *)variable.data);
    if (value == NULL) {
        rc = chassis_error_set(err, CHASSIS_NOT_FOUND, "no secret '%s': variable %s is not set",
                               name, (const char *)variable.data);
    } else {
        struct chassis_buf secret = {0};
        chassis_buf_append_str(&secret, value);
        *ret_secret = secret;
    }
    chassis_buf_fini(&variable);
    return rc;
}

static void store_close(struct chassis_secret_store *base)
{
    struct builtin_store *store = (struct builtin_store *)base;
    free(store->where);
    free(store);
}

static struct chassis_secret_store *store_new(const struct chassis_secret_store_ops *ops,
                                              const char *where)
{
    struct builtin_store *store = chassis_base_zalloc(sizeof *store);
    store->base.ops = ops;
    store->where = chassis_base_strdup(where);
    return &store->base;
}

int chassis_secret_store_file(const char *directory, struct chassis_secret_store **ret_store,
                              struct chassis_error *err)
{
    static const struct chassis_secret_store_ops ops = {file_get, store_close};
    struct stat st;
    if (stat(directory, &st) != 0) {
        return chassis_error_code(err, -errno, "secret store '%s'", directory);
    }
    if (!S_ISDIR(st.st_mode)) {
        return chassis_error_code(err, -ENOTDIR, "secret store '%s'", directory);
    }
    if ((st.st_mode & 022) != 0) {
        return chassis_error_set(err, CHASSIS_PERMISSION_DENIED,
                                 "secret store '%s' can be written by others: run chmod 700 '%s'",
                                 directory, directory);
    }
    *ret_store = store_new(&ops, directory);
    return 0;
}

int chassis_secret_store_environment(const char *prefix, struct chassis_secret_store **ret_store,
                                     struct chassis_error *err)
{
    static const struct chassis_secret_store_ops ops = {environment_get, store_close};
    if (prefix[0] == '\0' || strchr(prefix, '=') != NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the prefix of secret variables is empty or has a '='");
    }
    *ret_store = store_new(&ops, prefix);
    return 0;
}
