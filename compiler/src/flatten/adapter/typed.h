// Entries of types of their own: the words of a call, and parts of replies. The code that uses these is generated
// for each entry.
//
// The words are all keys and then all arguments. Values that are lists belong to the function that gets them;
// others are read in the buffer.

#define NO_LIST 0xffffffffu

static u32 word_len(u32 index) {
  u32 keys = key_count();
  return index < keys ? key(index, 0, 0) : arg(index - keys, 0, 0);
}

static void read_word(u32 index, u8 *to, u32 len) {
  u32 keys = key_count();
  if (index < keys) key(index, to, len);
  else arg(index - keys, to, len);
}

EXPORT("typed#count") u32 typed_count(void) { return key_count() + arg_count(); }

// A buffer for texts that the generated code writes.
EXPORT("typed#scratch") u8 *typed_scratch(u32 len) { return scratch(len); }

// Reads words as a list of lists of bytes; `NO_LIST` if they must be text and one is not.
EXPORT("typed#lists") u32 typed_lists(u32 first, u32 count, i32 are_text) {
  u32 *list = allocate(4, count * 8);
  for (u32 i = 0; i < count; i++) {
    u32 len = word_len(first + i);
    u8 *bytes = allocate(1, len);
    read_word(first + i, bytes, len);
    if (are_text && !is_utf8(bytes, len)) return NO_LIST;
    list[2 * i] = (u32)bytes;
    list[2 * i + 1] = len;
  }
  return (u32)list;
}

// Reads a word into memory of its own. Returns its address and length at an address, or 0 if it must be text and is
// not.
EXPORT("typed#bytes") u32 *typed_bytes(u32 index, i32 is_text) {
  u32 len = word_len(index);
  u8 *bytes = allocate(1, len);
  read_word(index, bytes, len);
  if (is_text && !is_utf8(bytes, len)) return 0;
  u32 *pair = (u32 *)scratch(8);
  pair[0] = (u32)bytes;
  pair[1] = len;
  return pair;
}

// Reads `true`, `false`, `1` or `0` in either case; 2 if it is none of them.
EXPORT("typed#boolean") i32 typed_boolean(u32 index) {
  u32 len = word_len(index);
  u8 *at = scratch(len);
  read_word(index, at, len);
  if (is_word(at, len, '1', 0, 0, 1) || is_word(at, len, 0x65757274, 0, 0, 4)) return 1;
  return is_word(at, len, '0', 0, 0, 1) || is_word(at, len, 0x65736c6166, 0, 0, 5) ? 0 : 2;
}

// Reads a word as a whole number within bounds, which are read as unsigned if `is_unsigned`. Returns its address, or 0
// if it is none.
EXPORT("typed#integer") u64 *typed_integer(u32 index, i32 is_unsigned, i64 least, i64 most) {
  u32 len = word_len(index);
  u8 *at = scratch(len < 8 ? 8 : len);
  read_word(index, at, len);
  u32 negative = len && *at == '-';
  u64 value = 0;
  if (len == negative) return 0;
  for (u32 i = negative; i < len; i++) {
    u32 digit = at[i] - '0';
    // Before it is too large for 64 bits.
    if (digit > 9 || value > 1844674407370955161u || (value == 1844674407370955161u && digit > 5)) return 0;
    value = 10 * value + digit;
  }
  if (is_unsigned) {
    if ((negative && value) || value > (u64)most) return 0;
  } else {
    if (negative ? value > (u64)1 << 63 : value >> 63) return 0;
    if (negative) value = 0 - value;
    if ((i64)value < least || (i64)value > most) return 0;
  }
  u64 *number = (u64 *)at;
  *number = value;
  return number;
}

// Reads words as a list of whole numbers of so many bytes each; `NO_LIST` if one is none.
EXPORT("typed#integers")
u32 typed_integers(u32 first, u32 count, u32 bytes, i32 is_unsigned, i64 least, i64 most) {
  u8 *list = allocate(bytes, count * bytes), *to = list;
  for (u32 i = 0; i < count; i++) {
    u64 *number = typed_integer(first + i, is_unsigned, least, most);
    if (!number) return NO_LIST;
    for (u32 byte = 0; byte < bytes; byte++) *to++ = *number >> 8 * byte;
  }
  return (u32)list;
}

EXPORT("typed#reply-null") void typed_null(void) { reply_null(); }

EXPORT("typed#reply-bool") void typed_reply_bool(i32 value) { reply_bool(value); }

EXPORT("typed#reply-integer") void typed_reply_integer(i64 value) { reply_int(value); }

EXPORT("typed#reply-double") void typed_reply_double(double value) { reply_double(value); }

EXPORT("typed#reply-bulk") void typed_reply_bulk(void *at, u32 len) { reply_bulk(at, len); }

EXPORT("typed#reply-error") void typed_reply_error(void *at, u32 len) { reply_error(at, len); }

EXPORT("typed#reply-array") void typed_reply_array(i32 count) { reply_array(count); }

EXPORT("typed#reply-map") void typed_reply_map(i32 count) { reply_map(count); }

// A number of 64 bits without a sign: text where integers end.
EXPORT("typed#reply-unsigned") void typed_reply_unsigned(u64 value) {
  if (!(value >> 63)) return reply_int(value);
  u8 *end = scratch(20) + 20, *at = end;
  for (; value; value /= 10) *--at = '0' + value % 10;
  reply_bulk(at, end - at);
}

EXPORT("typed#reply-char") void typed_reply_char(u32 c) {
  u8 *at = scratch(4);
  u32 more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  for (u32 i = more; i; i--, c >>= 6) at[i] = 0x80 | (c & 0x3f);
  at[0] = more ? (0xff00 >> (more + 1) & 0xff) | c : c;
  reply_bulk(at, more + 1);
}
