/* Completion scripts for bash, zsh and fish, from the table. */
#include <string.h>

#include "dctl.h"

/* Call `each` for the commands' own options first seen, then the global ones. */
static void each_option(void (*each)(FILE *out, const struct dctl_option *o), FILE *out)
{
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        for (const struct dctl_option *o = c->options; o != NULL && o->name != NULL; o++) {
            each(out, o);
        }
    }
    for (const struct dctl_option *o = dctl_global_options; o->name != NULL; o++) {
        each(out, o);
    }
}

static void pattern_with_value(FILE *out, const struct dctl_option *o)
{
    if (o->value != DCTL_FLAG) {
        fprintf(out, "--%s|", o->name);
        if (o->letter != 0) {
            fprintf(out, "-%c|", o->letter);
        }
    }
}

static void pattern_of_file(FILE *out, const struct dctl_option *o)
{
    if (o->value == DCTL_FILE) {
        pattern_with_value(out, o);
    }
}

/* The words that may follow `prefix` in a command's name, each once. */
static void next_words(FILE *out, const char *prefix)
{
    size_t n = strlen(prefix);
    const char *last = "";
    size_t last_len = 0;
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        const char *word = c->name;
        if (n != 0) {
            if (strncmp(c->name, prefix, n) != 0 || c->name[n] != ' ') {
                continue;
            }
            word = c->name + n + 1;
        }
        size_t len = strcspn(word, " ");
        if (len != last_len || strncmp(word, last, len) != 0) {
            fprintf(out, "%.*s ", (int)len, word);
        }
        last = word;
        last_len = len;
    }
}

static void option_words(FILE *out, const struct dctl_option *table)
{
    for (; table != NULL && table->name != NULL; table++) {
        fprintf(out, "--%s ", table->name);
    }
}

/* What a command's arguments can be: the alternatives of "bash|zsh|fish", else nothing. */
static void argument_words(FILE *out, const char *args)
{
    if (strchr(args, '|') == NULL || strpbrk(args, "[ABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL) {
        return;
    }
    for (; *args != '\0'; args++) {
        fputc(*args == '|' ? ' ' : *args, out);
    }
    fputc(' ', out);
}

/* A case per command and group giving $words: bash and zsh read it alike. */
static void cases(FILE *out)
{
    fputs("    case $command in\n", out);
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        fprintf(out, "    '%s'|'%s '*) words='", c->name, c->name);
        argument_words(out, c->args);
        option_words(out, c->options);
        option_words(out, dctl_global_options);
        fputs("' ;;\n", out);
    }
    const char *last = "";
    size_t last_len = 0;
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        size_t len = strcspn(c->name, " ");
        if (c->name[len] == ' ' && (len != last_len || strncmp(last, c->name, len) != 0)) {
            char group[64];
            snprintf(group, sizeof group, "%.*s", (int)len, c->name);
            fprintf(out, "    '%s') words='", group);
            next_words(out, group);
            fputs("' ;;\n", out);
        }
        last = c->name;
        last_len = len;
    }
    fputs("    '') words='", out);
    next_words(out, "");
    fputs("--help' ;;\n    esac\n", out);
}

/* Turn the words before the cursor into $command, leaving options and their values out. */
static void walk(FILE *out, const char *words, const char *first, const char *end)
{
    fprintf(out,
            "    local command= words= previous= word i\n"
            "    for ((i = %s; i < %s; i++)); do\n"
            "        word=${%s[i]}\n"
            "        case $previous in\n"
            "        ",
            first, end, words);
    each_option(pattern_with_value, out);
    fputs("'?') previous=; continue ;;\n"
          "        esac\n"
          "        previous=$word\n"
          "        case $word in\n"
          "        -*) ;;\n"
          "        *) command+=${command:+ }$word ;;\n"
          "        esac\n"
          "    done\n",
          out);
}

static void bash(FILE *out)
{
    fputs("# bash completion for dctl: source <(dctl completion bash)\n_dctl() {\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n",
          out);
    walk(out, "COMP_WORDS", "1", "COMP_CWORD");
    fputs(
        "    case $before in\n"
        "    --output|-o) mapfile -t COMPREPLY < <(compgen -W 'table json yaml' -- \"$current\")\n"
        "        return ;;\n    ",
        out);
    each_option(pattern_of_file, out);
    fputs(
        "'?') mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n        return ;;\n    esac\n",
        out);
    cases(out);
    fputs("    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n}\n"
          "complete -F _dctl dctl\n",
          out);
}

static void zsh(FILE *out)
{
    fputs("#compdef dctl\n"
          "# zsh completion for dctl: source <(dctl completion zsh), or save as _dctl in $fpath\n"
          "_dctl() {\n"
          "    local all=(\"${words[@]}\") last=$CURRENT before=${words[CURRENT - 1]}\n",
          out);
    walk(out, "all", "2", "last");
    fputs("    case $before in\n"
          "    --output|-o) compadd table json yaml; return ;;\n    ",
          out);
    each_option(pattern_of_file, out);
    fputs("'?') _files; return ;;\n    esac\n", out);
    cases(out);
    fputs("    compadd -- ${=words}\n}\n"
          "compdef _dctl dctl\n",
          out);
}

/* Text in single quotes, as fish reads it. */
static void fish_quoted(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\') {
            fputc('\\', out);
        }
        fputc(*text, out);
    }
    fputc('\'', out);
}

static void fish_option(FILE *out, const char *condition, const struct dctl_option *o)
{
    fprintf(out, "complete -c dctl%s -l %s", condition, o->name);
    if (o->letter != 0) {
        fprintf(out, " -s %c", o->letter);
    }
    if (o->value == DCTL_FILE) {
        fputs(" -r -F", out);
    } else if (o->value == DCTL_CHOICE) {
        fputs(" -x -a '", out);
        for (const char *const *c = o->choices; *c != NULL; c++) {
            fprintf(out, "%s%s", c != o->choices ? " " : "", *c);
        }
        fputc('\'', out);
    } else if (o->value != DCTL_FLAG) {
        fputs(" -x", out);
    }
    fputs(" -d ", out);
    fish_quoted(out, o->help);
    fputc('\n', out);
}

static void fish(FILE *out)
{
    fputs("# fish completion for dctl: dctl completion fish | source\n"
          "complete -c dctl -f\n",
          out);
    const char *last = "";
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        char group[64], condition[160];
        size_t len = strcspn(c->name, " ");
        snprintf(group, sizeof group, "%.*s", (int)len, c->name);
        if (c->name[len] == ' ') {
            if (strncmp(last, c->name, len + 1) != 0) {
                fprintf(out, "complete -c dctl -n __fish_use_subcommand -a %s\n", group);
            }
            fprintf(out, "complete -c dctl -n '__fish_seen_subcommand_from %s", group);
            fputs("; and not __fish_seen_subcommand_from ", out);
            next_words(out, group);
            fprintf(out, "' -a %s -d ", c->name + len + 1);
            snprintf(condition, sizeof condition,
                     " -n '__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from %s'",
                     group, c->name + len + 1);
        } else {
            fprintf(out, "complete -c dctl -n __fish_use_subcommand -a %s -d ", group);
            snprintf(condition, sizeof condition, " -n '__fish_seen_subcommand_from %s'", group);
        }
        fish_quoted(out, c->help);
        fputc('\n', out);
        for (const struct dctl_option *o = c->options; o != NULL && o->name != NULL; o++) {
            fish_option(out, condition, o);
        }
        last = c->name;
    }
    for (const struct dctl_option *o = dctl_global_options; o->name != NULL; o++) {
        fish_option(out, "", o);
    }
    fputs("complete -c dctl -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n", out);
}

int dctl_completion(FILE *out, const char *shell)
{
    static const struct {
        const char *name;
        void (*print)(FILE *out);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(shells[i].name, shell) == 0) {
            shells[i].print(out);
            return 0;
        }
    }
    return CHASSIS_NOT_FOUND;
}

int dctl_completion_command(struct dctl *d, int argc, char **argv)
{
    if (dctl_completion(d->out, argv[0]) != 0) {
        return dctl_usage(d, "no completion for '%s': bash, zsh or fish", argv[0]);
    }
    return DCTL_OK;
}
