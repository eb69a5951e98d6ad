/* What texts in events must look like. Nothing allocates.
 *
 * Threads: any.
 */
#ifndef CAT_EVENT_CHECK_H
#define CAT_EVENT_CHECK_H

#include <stdbool.h>

#include <chassis/buf.h>

/* A CloudEvents String: UTF-8, no U+0000…U+001F, no U+007F…U+009F, no noncharacters. */
bool cat_check_string(struct chassis_view text);
/* RFC 3986 §4.1; `absolute` = §4.3 with or without a fragment: a scheme is there. */
bool cat_check_uri(struct chassis_view text, bool absolute);
/* RFC 2045 §5.1 as RFC 9110 §8.3.1 writes it: type "/" subtype, parameters. */
bool cat_check_media_type(struct chassis_view text);

/* A text for an error: cut, and what cannot be printed as '?'. */
struct cat_quoted {
    char text[64];
};
struct cat_quoted cat_quote(struct chassis_view text);

#endif
