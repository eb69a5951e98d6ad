#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <chassis/error.h>

struct status_row {
    int code;
    int grpc;
    enum chassis_error_class class_;
    const char *name;
    const char *text;
};

static const struct status_row status_rows[] = {
#define CHASSIS_X(name, code, grpc, class_, text) {code, grpc, CHASSIS_CLASS_##class_, #name, text},
    CHASSIS_STATUS_TABLE(CHASSIS_X)
#undef CHASSIS_X
};

static const struct status_row *find_row(int code)
{
    for (size_t i = 0; i < sizeof status_rows / sizeof status_rows[0]; i++) {
        if (status_rows[i].code == code) {
            return &status_rows[i];
        }
    }
    return NULL;
}

const char *chassis_status_text(int code)
{
    const struct status_row *row = find_row(code);
    if (row != NULL) {
        return row->text;
    }
    if (code == 0) {
        return "ok";
    }
    const char *text = code < 0 && code > -1000 ? strerrordesc_np(-code) : NULL;
    return text != NULL ? text : "unknown error";
}

const char *chassis_status_name(int code)
{
    const struct status_row *row = find_row(code);
    if (row != NULL) {
        return row->name;
    }
    if (code == 0) {
        return "OK";
    }
    const char *name = code < 0 && code > -1000 ? strerrorname_np(-code) : NULL;
    return name != NULL ? name : "UNKNOWN";
}

enum chassis_error_class chassis_status_class(int code)
{
    const struct status_row *row = find_row(code);
    if (row != NULL) {
        return row->class_;
    }
    switch (-code) {
    case 0:
        return CHASSIS_CLASS_NONE;
    case EAGAIN:
    case EINTR:
    case EBUSY:
    case ENOBUFS:
    case ENOSPC:
    case ETIMEDOUT:
    case ECONNREFUSED:
    case ECONNRESET:
        return CHASSIS_CLASS_RETRY;
    case ENOENT:
        return CHASSIS_CLASS_GONE;
    case EINVAL:
        return CHASSIS_CLASS_CALLER;
    default:
        return CHASSIS_CLASS_FATAL;
    }
}

int chassis_status_to_grpc(int code)
{
    const struct status_row *row = find_row(code);
    if (row != NULL) {
        return row->grpc;
    }
    switch (-code) {
    case 0:
        return 0;
    case ENOENT:
        return 5;
    case EINVAL:
        return 3;
    case EACCES:
    case EPERM:
        return 7;
    case ENOSPC:
    case EDQUOT:
        return 8;
    case ETIMEDOUT:
        return 4;
    case ECONNREFUSED:
    case ECONNRESET:
    case EAGAIN:
        return 14;
    default:
        return 13;
    }
}

int chassis_status_from_grpc(int grpc)
{
    if (grpc == 0) {
        return 0;
    }
    /* The first sixteen rows are the gRPC codes themselves, in order. */
    return grpc >= 1 && grpc <= 16 ? status_rows[grpc - 1].code : CHASSIS_UNKNOWN;
}

int chassis_error_setv(struct chassis_error *err, int code, const char *format, va_list args)
{
    if (err != NULL) {
        err->code = code;
        vsnprintf(err->text, sizeof err->text, format, args);
    }
    return code;
}

int chassis_error_set(struct chassis_error *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    chassis_error_setv(err, code, format, args);
    va_end(args);
    return code;
}

int chassis_error_code(struct chassis_error *err, int code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        chassis_error_setv(err, code, format, args);
        va_end(args);
        size_t len = strlen(err->text);
        snprintf(err->text + len, sizeof err->text - len, ": %s", chassis_status_text(code));
    }
    return code;
}

int chassis_error_wrap(struct chassis_error *err, const char *format, ...)
{
    if (err == NULL) {
        return CHASSIS_UNKNOWN;
    }
    char inner[CHASSIS_ERROR_TEXT_MAX];
    snprintf(inner, sizeof inner, "%s", chassis_error_text(err));
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    size_t len = strlen(err->text);
    snprintf(err->text + len, sizeof err->text - len, ": %s", inner);
    return err->code;
}

void chassis_error_clear(struct chassis_error *err)
{
    if (err != NULL) {
        err->code = 0;
        err->text[0] = '\0';
    }
}

const char *chassis_error_text(const struct chassis_error *err)
{
    return err->text[0] != '\0' ? err->text : chassis_status_text(err->code);
}
