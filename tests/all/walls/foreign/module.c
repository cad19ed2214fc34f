// A module of somebody else: commands that read and write the keys that their arguments name. The first
// argument of the module says if the server is told the positions of the keys, and which flags it gets.
// Only the few functions of the module API that it needs are declared.

#include <stddef.h>
#include <string.h>

typedef struct Context Context;
typedef struct String String;
typedef struct Reply Reply;
typedef int (*Command)(Context *, String **, int);

static int (*SetModuleAttribs)(Context *, const char *, int, int);
static int (*CreateCommand)(Context *, const char *, Command, const char *, int, int, int);
static Reply *(*Call)(Context *, const char *, const char *, ...);
static int (*ReplyWithCallReply)(Context *, Reply *);
static void (*FreeCallReply)(Reply *);
static const char *(*StringPtrLen)(String *, size_t *);

static int done(Context *context, Reply *reply) {
    ReplyWithCallReply(context, reply);
    FreeCallReply(reply);
    return 0;
}

// FOREIGN.GET key
static int get(Context *context, String **words, int count) {
    (void)count;
    return done(context, Call(context, "GET", "s", words[1]));
}

// FOREIGN.SET key value
static int set(Context *context, String **words, int count) {
    (void)count;
    return done(context, Call(context, "SET", "!ss", words[1], words[2]));
}

// FOREIGN.SIZE
static int size(Context *context, String **words, int count) {
    (void)words;
    (void)count;
    return done(context, Call(context, "DBSIZE", ""));
}

int RedisModule_OnLoad(Context *context, String **words, int count) {
    int (*look_up)(const char *, void *) = *(int (**)(const char *, void *))context;
    look_up("RedisModule_SetModuleAttribs", &SetModuleAttribs);
    look_up("RedisModule_CreateCommand", &CreateCommand);
    look_up("RedisModule_Call", &Call);
    look_up("RedisModule_ReplyWithCallReply", &ReplyWithCallReply);
    look_up("RedisModule_FreeCallReply", &FreeCallReply);
    look_up("RedisModule_StringPtrLen", &StringPtrLen);
    SetModuleAttribs(context, "foreign", 1, 1);
    size_t len = 0;
    const char *word = count > 0 ? StringPtrLen(words[0], &len) : "";
    int keys = len == 4 && !memcmp(word, "keys", 4);
    int writes = len == 6 && !memcmp(word, "writes", 6);
    // With `writes`, the command that only read before is one that may write, and says so.
    return CreateCommand(context, "foreign.get", writes ? set : get, writes ? "write" : "readonly", keys, keys, keys)
        | CreateCommand(context, "foreign.set", set, "write deny-oom", keys, keys, keys)
        | CreateCommand(context, "foreign.size", size, "readonly", 0, 0, 0);
}
