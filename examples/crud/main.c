/* Names in an LMDB repository: create, read, update, delete. They are there after a restart. */
#include <chassis/chassis.h>
#include <examples/crud/v1/crud.chassis.h>

#include "names.h"

static struct chassis_store *store_of(struct chassis_call *call)
{
    return chassis_repository(chassis_call_data(call), "lmdb");
}

static bool check(struct chassis_call *call, const Examples__Crud__V1__Name *name)
{
    if (name == NULL || name->first_name[0] == '\0') {
        chassis_call_fail(call, CHASSIS_INVALID_ARGUMENT, "name.first_name must not be empty");
        return false;
    }
    return true;
}

static void create(struct chassis_call *call, const Examples__Crud__V1__CreateRequest *req)
{
    struct chassis_error err = {0};
    if (!check(call, req->name)) {
        return;
    }
    char id[CHASSIS_UUID_SIZE];
    chassis_uuid(id);
    Examples__Crud__V1__Name name = *req->name;
    name.id = id;
    if (names_put(store_of(call), &name, false, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    Examples__Crud__V1__CreateResponse res = EXAMPLES__CRUD__V1__CREATE_RESPONSE__INIT;
    res.id = id;
    crud_create_reply(call, &res);
}

static void read_one(struct chassis_call *call, const Examples__Crud__V1__ReadRequest *req)
{
    struct chassis_error err = {0};
    Examples__Crud__V1__ReadResponse res = EXAMPLES__CRUD__V1__READ_RESPONSE__INIT;
    if (names_get(store_of(call), req->id, chassis_call_arena(call), &res.name, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    crud_read_reply(call, &res);
}

static void update(struct chassis_call *call, const Examples__Crud__V1__UpdateRequest *req)
{
    struct chassis_error err = {0};
    if (!check(call, req->name)) {
        return;
    }
    if (names_put(store_of(call), req->name, true, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    Examples__Crud__V1__UpdateResponse res = EXAMPLES__CRUD__V1__UPDATE_RESPONSE__INIT;
    res.id = req->name->id;
    crud_update_reply(call, &res);
}

static void delete_one(struct chassis_call *call, const Examples__Crud__V1__DeleteRequest *req)
{
    struct chassis_error err = {0};
    if (names_delete(store_of(call), req->id, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    Examples__Crud__V1__DeleteResponse res = EXAMPLES__CRUD__V1__DELETE_RESPONSE__INIT;
    res.id = req->id;
    crud_delete_reply(call, &res);
}

int main(int argc, char **argv)
{
    static const struct crud_handlers handlers = {
        .create = create, .read = read_one, .update = update, .delete = delete_one};
    struct chassis *c = chassis_new("crud", argc, argv);
    chassis_with_repository(c, &chassis_repository_lmdb, names_tables, NAMES_TABLES);
    chassis_with_rpc_handler(c, crud_service(&handlers, c));
    chassis_register(c, "examples", NULL, 0);
    chassis_with_route(c, &(struct chassis_route){.prefix = "/examples.crud.v1.CrudService/"});
    chassis_with_route(c, &(struct chassis_route){.name = "crud-grpc",
                                                  .grpc_service = "examples.crud.v1.CrudService"});
    return chassis_run(c);
}
