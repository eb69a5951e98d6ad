/* dctl: the tool for people and scripts who work with the platform. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <chassis/client.h>

#include "dctl.h"
#include "output.h"

int dctl_exit_of(int code)
{
    switch (chassis_status_to_grpc(code)) {
    case 0:
        return DCTL_OK;
    case 5: /* NOT_FOUND */
        return DCTL_NOT_FOUND;
    case 4:  /* DEADLINE_EXCEEDED */
    case 14: /* UNAVAILABLE */
        return DCTL_UNAVAILABLE;
    default:
        return DCTL_FAILED;
    }
}

int dctl_fail(struct dctl *d, const struct chassis_error *err)
{
    const char *red = d->colour && isatty(fileno(d->err)) ? "\033[31m" : "";
    fprintf(d->err, "%sdctl: %s%s\n", red, chassis_error_text(err),
            red[0] != '\0' ? "\033[0m" : "");
    return dctl_exit_of(err->code);
}

int dctl_version(struct dctl *d, int argc, char **argv)
{
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_text(&d->arena, map, "version", DRAFT_VERSION);
    if (d->format == DCTL_TABLE) {
        fprintf(d->out, "dctl %s\n", DRAFT_VERSION);
    } else {
        dctl_print(d, map, NULL);
    }
    return DCTL_OK;
}

static enum dctl_format format_of(const char *name)
{
    return name == NULL                ? DCTL_TABLE
           : strcmp(name, "json") == 0 ? DCTL_JSON
           : strcmp(name, "yaml") == 0 ? DCTL_YAML
                                       : DCTL_TABLE;
}

int dctl_main(int argc, char **argv, FILE *out, FILE *err)
{
    struct dctl d = {.out = out, .err = err};
    chassis_arena_init(&d.arena, NULL, 0, 0);
    const char *no_color = getenv("NO_COLOR");
    d.colour = isatty(fileno(out)) && (no_color == NULL || no_color[0] == '\0');
    struct dctl_parsed parsed = dctl_parse(&d, argc, argv);
    int exit_code = parsed.exit;
    if (parsed.command != NULL) {
        d.format = format_of(dctl_string(&d, "output"));
        exit_code = parsed.command->run(&d, parsed.argc, parsed.argv);
    }
    chassis_client_free(d.client);
    chassis_arena_fini(&d.arena);
    if (fflush(out) != 0 || ferror(out)) {
        fputs("dctl: the output could not be written\n", err);
        return exit_code == DCTL_OK ? DCTL_FAILED : exit_code;
    }
    return exit_code;
}
