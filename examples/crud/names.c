#include "names.h"

#include <examples/crud/v1/crud.chassis.h>

const char *const names_tables[] = {"names"};
enum { TABLE_NAMES };

static int no_such(const char *id, struct chassis_error *err)
{
    return chassis_error_set(err, CHASSIS_NOT_FOUND, "no name with id '%.64s'", id);
}

static int get(struct chassis_txn *txn, const char *id, struct chassis_view *ret_value,
               struct chassis_error *err)
{
    if (id[0] == '\0' || strlen(id) > 64) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "an id has 1 to 64 bytes");
    }
    int rc = chassis_txn_get(txn, TABLE_NAMES, chassis_view_str(id), ret_value);
    return rc == CHASSIS_NOT_FOUND ? no_such(id, err)
           : rc != 0               ? chassis_error_code(err, rc, "read name '%s'", id)
                                   : 0;
}

int names_get(struct chassis_store *store, const char *id, struct chassis_arena *arena,
              Examples__Crud__V1__Name **ret_name, struct chassis_error *err)
{
    struct chassis_txn *txn;
    struct chassis_view value;
    int rc = chassis_store_begin(store, false, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = get(txn, id, &value, err);
    rc = rc == 0 ? examples__crud__v1__name__decode(value, arena, ret_name, err) : rc;
    chassis_txn_abort(txn);
    return rc;
}

int names_put(struct chassis_store *store, const Examples__Crud__V1__Name *name, bool must_exist,
              struct chassis_error *err)
{
    struct chassis_txn *txn;
    struct chassis_view old;
    struct chassis_buf encoded = {0};
    int rc = chassis_store_begin(store, true, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = must_exist ? get(txn, name->id, &old, err) : 0;
    if (rc == 0) {
        examples__crud__v1__name__encode(name, &encoded);
        rc = chassis_txn_put(txn, TABLE_NAMES, chassis_view_str(name->id),
                             chassis_buf_view(&encoded));
        chassis_buf_fini(&encoded);
        rc = rc != 0 ? chassis_error_code(err, rc, "write name '%s'", name->id) : 0;
    }
    if (rc != 0) {
        chassis_txn_abort(txn);
        return rc;
    }
    return chassis_txn_commit(txn, err);
}

int names_delete(struct chassis_store *store, const char *id, struct chassis_error *err)
{
    struct chassis_txn *txn;
    struct chassis_view old;
    int rc = chassis_store_begin(store, true, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = get(txn, id, &old, err);
    if (rc == 0) {
        rc = chassis_txn_del(txn, TABLE_NAMES, chassis_view_str(id));
    }
    if (rc != 0) {
        chassis_txn_abort(txn);
        return rc;
    }
    return chassis_txn_commit(txn, err);
}
