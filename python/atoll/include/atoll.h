/* How an extension type lets other interpreters share its reference-counted payload, without copying it.
 *
 * An extension includes this file and links nothing. Where it is: atoll.get_include().
 *
 * The type has a method `__atoll_share__(self)` that returns a capsule named ATOLL_SHARE_CAPSULE with a pointer to an
 * atoll_share. Atoll copies the structure and its text while it holds the capsule, takes references of its own by
 * retain(), and gives each back by release(): also where a message is never received.
 *
 * In the receiving interpreter `rebuild` is imported by its name and called with such a capsule. Whoever keeps the payload
 * retain()s it; the structure itself is to be copied, as it ends with the capsule.
 *
 * - retain() and release() may be called on any thread, attached to Python or not, at once by several; they must not call
 *   Python. The payload must be of no interpreter: no Python object in it, and none of PyMem's memory.
 * - An isolate loads a copy of the extension of its own, with statics of its own. So an object that was rebuilt retains and
 *   releases by the functions of its structure, never by its own library's, and reads the payload only if `layout` is what it
 *   knows. The functions stay valid: libraries of interpreters that ended are not unloaded.
 * - Several interpreters read the payload at the same time: it is immutable, or guards itself.
 */
#ifndef ATOLL_H
#define ATOLL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ATOLL_SHARE_VERSION 1
#define ATOLL_SHARE_CAPSULE "atoll.share"

typedef struct atoll_share {
    uint32_t version;                /* ATOLL_SHARE_VERSION */
    uint32_t layout;                 /* yours: another number whenever the payload's layout changes */
    void *payload;                   /* what is shared; not NULL */
    void (*retain)(void *payload);   /* adds a reference */
    void (*release)(void *payload);  /* gives one back; the payload ends with the last */
    const char *rebuild;             /* "module:function", called there with a capsule; returns the object */
} atoll_share;

#ifdef __cplusplus
}
#endif

#endif
