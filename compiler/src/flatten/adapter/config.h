// wasi:config: the function's own configuration, in the shapes of its drafts. Nothing else is there: no variables of
// the server, and no values of other functions.

// Writes the error `io`, which says that a bound of the call was reached.
static void config_failed(u8 *result) {
  U8(result, 0) = 1;
  U8(result, 4) = 1;
  u8 *text = scratch(8);
  give_list(result + 8, text, write_word(text, WORD("limit")) - text);
}

// Finds a value: `result<option<string>, error>`.
static void config_get(void *name, u32 len, u8 *result) {
  i32 found = config(name, len, 0, 0);
  if (found < NOT_FOUND) return config_failed(result);
  U8(result, 0) = 0;
  U8(result, 4) = found != NOT_FOUND;
  if (found != NOT_FOUND) take_all(result + 8, found);
}

// Lists all values: `result<list<tuple<string, string>>, error>`.
static void config_all(u8 *result) {
  // The names, each with an end of line.
  i32 len = config_names(0, 0);
  if (len < 0) return config_failed(result);
  u8 *name = scratch(len), *end = name + len;
  if (len) take(name, 0, len);
  u32 n = 0;
  for (i32 i = 0; i < len; i++) n += name[i] == '\n';
  u8 *pair = allocate(4, n * 16);
  U8(result, 0) = 0;
  U32(result, 4) = (u32)pair;
  U32(result, 8) = n;
  for (; name < end; pair += 16) {
    u32 name_len = 0;
    while (name[name_len] != '\n') name_len++;
    i32 found = config(name, name_len, 0, 0);
    if (found < 0) return config_failed(result);
    take_all(pair + 8, found);
    give_list(pair, name, name_len);
    name += name_len + 1;
  }
}

#define CONFIG(interface, number)                                                                          \
  EXPORT("wasi:config/" interface "#get") void config_get_##number(void *name, u32 len, u8 *result) {      \
    config_get(name, len, result);                                                                         \
  }                                                                                                        \
  EXPORT("wasi:config/" interface "#get-all") void config_all_##number(u8 *result) { config_all(result); }

CONFIG("runtime@0.2.0-draft", 1)
CONFIG("store@0.2.0-draft", 2)
CONFIG("store@0.2.0-draft-2024-09-27", 3)
CONFIG("store@0.2.0-rc.1", 4)
