/* Routes written as JSON, the way users see them. */
#ifndef TESTS_UNIT_FUSE_JSON_H
#define TESTS_UNIT_FUSE_JSON_H

#include "fuse/control_plane/convert.h"
#include "proto/message.h"
#include "test.h"

/* 'name' for "name", so that rows stay readable. */
static inline const char *json_quotes(const char *json, char *out, size_t room)
{
    snprintf(out, room, "%s", json);
    for (char *c = out; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    return out;
}

static inline struct fuse_route *json_route(const char *json,
                                            const struct fuse_route_defaults *defaults,
                                            struct fuse_problems *problems)
{
    char text[8192];
    struct chassis_arena arena;
    struct chassis_error err = {0};
    ProtobufCMessage *message = NULL;
    *problems = (struct fuse_problems){0};
    chassis_arena_init(&arena, NULL, 0, 0);
    json_quotes(json, text, sizeof text);
    if (chassis_json_parse(&core__control_plane__networking__v1__route__descriptor,
                           chassis_view_str(text), NULL, false, &arena, &message, &err) != 0) {
        fail_msg("%s: %s", json, chassis_error_text(&err));
    }
    struct fuse_route *route = fuse_route_of_message(
        (const Core__ControlPlane__Networking__V1__Route *)(const void *)message, defaults,
        problems);
    chassis_arena_fini(&arena);
    return route;
}

/* One that has to be accepted. */
static inline struct fuse_route *json_accepted(const char *json)
{
    static struct fuse_problems problems;
    struct fuse_route *route = json_route(json, NULL, &problems);
    if (route == NULL) {
        fail_msg("%s: %s: %s", json, problems.items[0].field, problems.items[0].text);
    }
    return route;
}

#endif
