/* Printing: block style, quoted only where a reader could take a text for something else. */
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "config/yaml.h"

/* Words that YAML 1.1 or 1.2 readers take for null or a boolean, in any case of letters. */
static bool is_word(const char *text)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no",   "on",
                                        "off",  "y",    "n",     "~",   ".nan", ".inf"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Plain is what begins with a letter, '/' or '_' and goes on with harmless characters: less than
 * YAML allows, but no number, date, indicator or comment is among it. */
static bool needs_quotes(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (text[0] == '\0' || (strchr(letters, text[0]) == NULL && strchr("/_", text[0]) == NULL) ||
        is_word(text)) {
        return true;
    }
    for (const char *p = text; *p != '\0'; p++) {
        bool safe = strchr(letters, *p) != NULL || (*p >= '0' && *p <= '9') ||
                    strchr("/_.-+@=()<>", *p) != NULL ||
                    (*p == ':' && p[1] != '\0' && p[1] != ' ') ||
                    (*p == ' ' && p[1] != '\0' && p[1] != ' ' && p[1] != '#');
        if (!safe) {
            return true;
        }
    }
    return false;
}

/* Characters YAML does not take as they are: C1 controls, line and paragraph separators, the byte
 * order mark, the two non-characters at the end of the plane. */
static bool must_escape(unsigned code)
{
    return (code >= 0x80 && code < 0xa0) || code == 0x2028 || code == 0x2029 || code == 0xfeff ||
           code == 0xfffe || code == 0xffff;
}

static size_t emit_wide(const unsigned char *p, struct chassis_buf *out)
{
    size_t len = chassis_utf8_len(p, strnlen((const char *)p, 4));
    if (len == 0) {
        chassis_buf_append_str(out, "\xef\xbf\xbd");
        return 1;
    }
    unsigned code = len == 2   ? (p[0] & 0x1fU) << 6 | (p[1] & 0x3fU)
                    : len == 3 ? (p[0] & 0x0fU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU)
                               : 0x10000;
    if (must_escape(code)) {
        chassis_buf_printf(out, "\\u%04x", code);
    } else {
        chassis_buf_append(out, p, len);
    }
    return len;
}

void chassis_yaml_emit_text(const char *text, struct chassis_buf *out)
{
    if (!needs_quotes(text)) {
        chassis_buf_append_str(out, text);
        return;
    }
    chassis_buf_append_byte(out, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0';) {
        if (*p >= 0x80) {
            p += emit_wide(p, out);
            continue;
        }
        if (*p == '"' || *p == '\\') {
            chassis_buf_printf(out, "\\%c", *p);
        } else if (*p == '\n') {
            chassis_buf_append_str(out, "\\n");
        } else if (*p == '\t') {
            chassis_buf_append_str(out, "\\t");
        } else if (*p < 0x20 || *p == 0x7f) {
            chassis_buf_printf(out, "\\x%02x", *p);
        } else {
            chassis_buf_append_byte(out, *p);
        }
        p++;
    }
    chassis_buf_append_byte(out, '"');
}

static void emit_scalar(const struct chassis_yaml_node *node, struct chassis_buf *out)
{
    if (node->text == NULL) {
        chassis_buf_append_str(out, "null");
        return;
    }
    /* What was plain and is a number or boolean stays so; any other text decides for itself. */
    bool number = node->text[0] != '\0' &&
                  node->text[strspn(node->text, "0123456789.+-eExXabcdfABCDF_")] == '\0' &&
                  strpbrk(node->text, "0123456789") != NULL && node->text[0] != '+' &&
                  strchr("0123456789.-", node->text[0]) != NULL && strcmp(node->text, "-") != 0;
    if (node->plain && (number || is_word(node->text))) {
        chassis_buf_append_str(out, node->text);
    } else {
        chassis_yaml_emit_text(node->text, out);
    }
}

static void indent(unsigned depth, struct chassis_buf *out)
{
    for (unsigned i = 0; i < depth; i++) {
        chassis_buf_append_str(out, "  ");
    }
}

/* A map or sequence, its first line already indented. */
static void emit_children(const struct chassis_yaml_node *parent, unsigned depth,
                          struct chassis_buf *out)
{
    for (const struct chassis_yaml_node *child = parent->first; child != NULL;
         child = child->next) {
        if (child != parent->first) {
            indent(depth, out);
        }
        bool nested = child->kind != CHASSIS_YAML_SCALAR && child->first != NULL;
        if (parent->kind == CHASSIS_YAML_SEQUENCE) {
            chassis_buf_append_str(out, "- ");
        } else {
            chassis_yaml_emit_text(child->key, out);
            chassis_buf_append_str(out, nested ? ":" : ": ");
        }
        if (nested) {
            if (parent->kind == CHASSIS_YAML_MAP) {
                chassis_buf_append_byte(out, '\n');
                indent(depth + 1, out);
            }
            emit_children(child, depth + 1, out);
            continue;
        }
        if (child->kind == CHASSIS_YAML_SCALAR) {
            emit_scalar(child, out);
        } else {
            chassis_buf_append_str(out, child->kind == CHASSIS_YAML_MAP ? "{}" : "[]");
        }
        chassis_buf_append_byte(out, '\n');
    }
}

void chassis_yaml_emit(const struct chassis_yaml_node *root, struct chassis_buf *out)
{
    if (root == NULL) {
        return;
    }
    if (root->kind != CHASSIS_YAML_SCALAR && root->first != NULL) {
        emit_children(root, 0, out);
        return;
    }
    if (root->kind == CHASSIS_YAML_SCALAR) {
        emit_scalar(root, out);
    } else {
        chassis_buf_append_str(out, root->kind == CHASSIS_YAML_MAP ? "{}" : "[]");
    }
    chassis_buf_append_byte(out, '\n');
}
