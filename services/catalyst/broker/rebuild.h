/* What dedupe must know of the time before: read from the stream's own events, at the first publish
 * into it after a start.
 *
 * Threads: the loop role.
 */
#ifndef CAT_BROKER_REBUILD_H
#define CAT_BROKER_REBUILD_H

#include "catalyst/broker/internal.h"

/* True if there is nothing to learn; otherwise s->rebuild stands until cat_publish_release. */
bool cat_rebuild_start(struct stream *s, int64_t now_ns);
/* Nothing is under way in the stream any more: reading may begin. */
void cat_rebuild_go_on(struct stream *s);
void cat_rebuild_cancel(struct stream *s);

#endif
