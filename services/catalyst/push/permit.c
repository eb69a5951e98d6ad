#include "catalyst/push/permit.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { ORIGIN_MAX = 253, DIGITS_MAX = 9, PER_MINUTE_MAX = 6000000 };
#define MINUTE_NS UINT64_C(60000000000)
#define SLACK_NS  UINT64_C(100000000)

static bool alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "*" or a number above 0. */
static bool read_rate(const char *text, uint32_t *ret_per_minute)
{
    uint32_t value = 0;
    size_t n = strspn(text, "0123456789");
    if (strcmp(text, "*") == 0) {
        *ret_per_minute = 0;
        return true;
    }
    if (n == 0 || text[n] != '\0') {
        return false;
    }
    for (text += strspn(text, "0"), n = 0; n < DIGITS_MAX && text[n] != '\0'; n++) {
        value = value * 10 + (uint32_t)(text[n] - '0');
    }
    /* More than we could send is no limit. */
    *ret_per_minute = text[n] != '\0' || value > PER_MINUTE_MAX ? 0 : value;
    return text[0] != '\0';
}

bool cat_permit_read(const char *origin, const struct cat_permit_answer *a,
                     uint32_t *ret_per_minute, char *why, size_t why_size)
{
    uint32_t per_minute = 0;
    if (a->status == 0) {
        snprintf(why, why_size, "no answer to OPTIONS: %.180s", a->text);
    } else if (a->status < 200 || a->status > 299) {
        snprintf(why, why_size, "the endpoint does not allow it: HTTP %u to OPTIONS", a->status);
    } else if (a->allowed_origin[0] == '\0') {
        snprintf(why, why_size,
                 "the endpoint does not allow it: its answer to OPTIONS has no "
                 "webhook-allowed-origin");
    } else if (strcmp(a->allowed_origin, "*") != 0 && strcasecmp(a->allowed_origin, origin) != 0) {
        snprintf(why, why_size, "the endpoint allows origin '%.100s', not '%.100s'",
                 a->allowed_origin, origin);
    } else if (a->allowed_rate[0] != '\0' && !read_rate(a->allowed_rate, &per_minute)) {
        snprintf(why, why_size,
                 "webhook-allowed-rate of the endpoint is '%.50s', neither a number above 0 nor *",
                 a->allowed_rate);
    } else {
        *ret_per_minute = per_minute;
        return true;
    }
    return false;
}

bool cat_permit_exempt(const char *const *hosts, size_t n_hosts, const char *url)
{
    const char *at = strstr(url, "://");
    for (size_t i = 0; i < n_hosts; i++) {
        if (strcmp(hosts[i], "*") == 0) {
            return true;
        }
    }
    if (at == NULL) {
        return false;
    }
    at += 3;
    size_t len = strcspn(at, "/?#"), host = 0;
    for (size_t i = 0; i < len; i++) {
        if (!alnum(at[i]) && strchr(".-_:[]", at[i]) == NULL) {
            return false;
        }
    }
    host = at[0] == '[' ? strcspn(at, "]") + 1 : strcspn(at, ":/?#");
    for (size_t i = 0; i < n_hosts; i++) {
        size_t n = strlen(hosts[i]);
        if (n != 0 && (n == len || n == host) && strncasecmp(hosts[i], at, n) == 0) {
            return true;
        }
    }
    return false;
}

bool cat_permit_origin_valid(const char *origin)
{
    size_t n = strlen(origin);
    for (size_t i = 0; i < n; i++) {
        if (!alnum(origin[i]) && strchr(".-_:", origin[i]) == NULL) {
            return false;
        }
    }
    return n != 0 && n <= ORIGIN_MAX;
}

/* ---- how often ---- */

/* With a turn every (minute + slack) / per_minute and each at most `slack` early, per_minute turns at
 * most fall into any minute. */
void cat_rate_init(struct cat_rate *r, uint32_t per_minute)
{
    *r = (struct cat_rate){0};
    if (per_minute != 0) {
        r->slack_ns = per_minute > MINUTE_NS / SLACK_NS ? SLACK_NS : 0;
        r->interval_ns = (MINUTE_NS + r->slack_ns + per_minute - 1) / per_minute;
    }
}

uint32_t cat_rate_allows(const struct cat_rate *r, uint64_t now)
{
    if (r->interval_ns == 0) {
        return UINT32_MAX;
    }
    uint64_t turn = r->turn_ns > now ? r->turn_ns : now;
    return turn > now + r->slack_ns ? 0
                                    : (uint32_t)((now + r->slack_ns - turn) / r->interval_ns) + 1;
}

uint64_t cat_rate_due(const struct cat_rate *r)
{
    return r->turn_ns > r->slack_ns ? r->turn_ns - r->slack_ns : 0;
}

void cat_rate_take(struct cat_rate *r, uint64_t now)
{
    r->turn_ns = (r->turn_ns > now ? r->turn_ns : now) + r->interval_ns;
}
