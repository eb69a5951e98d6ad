/* Help and the reference page, from the table. */
#include <string.h>

#include "dctl.h"

static const char *const exit_codes =
    "0 done, 1 failed, 2 wrong usage, 3 not found, 4 the platform cannot be reached";

static void option_text(const struct dctl_option *o, char out[96])
{
    int n = 0;
    if (o->letter != 0) {
        n = snprintf(out, 96, "-%c, ", o->letter);
    }
    snprintf(out + n, 96 - (size_t)n, "--%s%s%s", o->name, o->arg != NULL ? " " : "",
             o->arg != NULL ? o->arg : "");
}

/* Cells a terminal needs for UTF-8 text (no wide characters in our tables). */
static int width(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

static void print_options(FILE *out, const struct dctl_option *table)
{
    for (; table != NULL && table->name != NULL; table++) {
        char text[96];
        option_text(table, text);
        fprintf(out, "  %s%*s  %s\n", text, 26 - width(text), "", table->help);
    }
}

static void print_command(FILE *out, const struct dctl_command *c)
{
    fprintf(out, "dctl %s%s%s [options]\n\n  %s\n", c->name, c->args[0] != '\0' ? " " : "", c->args,
            c->help);
    for (const char *line = c->more; line != NULL && *line != '\0';) {
        size_t len = strcspn(line, "\n");
        fprintf(out, "  %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
    if (c->options != NULL) {
        fputs("\nOptions\n", out);
        print_options(out, c->options);
    }
    fputs("\nOptions of every command\n", out);
    print_options(out, dctl_global_options);
    fprintf(out, "\nExit codes: %s\n", exit_codes);
}

void dctl_help(FILE *out, const char *prefix)
{
    size_t n = strlen(prefix);
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        if (strcmp(c->name, prefix) == 0) {
            print_command(out, c);
            return;
        }
    }
    fprintf(out, "dctl %s%sCOMMAND [options]: works with the Draft platform\n\n", prefix,
            n != 0 ? " " : "");
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        if (n == 0 || (strncmp(c->name, prefix, n) == 0 && c->name[n] == ' ')) {
            char text[96];
            snprintf(text, sizeof text, "%s %s", c->name, c->args);
            fprintf(out, "  %s%*s  %s\n", text, 26 - width(text), "", c->help);
        }
    }
    fputs("\nOptions of every command\n", out);
    print_options(out, dctl_global_options);
    fprintf(out, "\nColours only on a terminal and without NO_COLOR. Exit codes: %s\n", exit_codes);
}

static void markdown_options(FILE *out, const struct dctl_option *table)
{
    fputs("\n| option | meaning |\n|---|---|\n", out);
    for (; table->name != NULL; table++) {
        char text[96];
        option_text(table, text);
        fputs("| `", out);
        for (const char *p = text; *p != '\0'; p++) {
            fputs(*p == '|' ? "\\|" : (char[]){*p, '\0'}, out);
        }
        fprintf(out, "` | %s%s |\n", table->help, table->repeated ? " May be given again." : "");
    }
}

void dctl_markdown(FILE *out)
{
    fputs("# dctl\n\nMade by `dctl docs` from the table in `tools/dctl/commands.c`.\n\n"
          "## Options of every command\n",
          out);
    markdown_options(out, dctl_global_options);
    fprintf(out, "\nExit codes: %s.\n", exit_codes);
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        fprintf(out, "\n## dctl %s\n\n    dctl %s%s%s\n\n%s\n", c->name, c->name,
                c->args[0] != '\0' ? " " : "", c->args, c->help);
        if (c->more != NULL) {
            fputs("\n", out);
            for (const char *line = c->more; *line != '\0';) {
                size_t len = strcspn(line, "\n");
                bool code = strncmp(line, "dctl ", 5) == 0;
                fprintf(out, "%s%.*s\n%s", code ? "    " : "", (int)len, line, code ? "\n" : "");
                line += len + (line[len] == '\n');
            }
        }
        if (c->options != NULL) {
            markdown_options(out, c->options);
        }
    }
}

int dctl_docs(struct dctl *d, int argc, char **argv)
{
    dctl_markdown(d->out);
    return DCTL_OK;
}

int dctl_help_command(struct dctl *d, int argc, char **argv)
{
    char name[64] = "";
    if (argc != 0) {
        snprintf(name, sizeof name, "%s%s%s", argv[0], argc > 1 ? " " : "",
                 argc > 1 ? argv[1] : "");
    }
    size_t n = strlen(name);
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        if (n == 0 || (strncmp(c->name, name, n) == 0 && (c->name[n] == ' ' || c->name[n] == 0))) {
            dctl_help(d->out, name);
            return DCTL_OK;
        }
    }
    return dctl_usage(d, "no command '%s'", name);
}
