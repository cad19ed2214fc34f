// wasi:http: requests to other servers, by the host function of `ferrite:function/network`.
//
// A request is sent as soon as it is whole: when it is handed over, or when its body is finished, if that
// is later. Then its response is there, whole as well. Redirections are responses like others.

#define TYPES(name) EXPORT("wasi:http/types#" name)

// The cases of `error-code` that there are.
enum {
  DNS_ERROR = 1,
  DESTINATION_UNAVAILABLE = 3,
  DESTINATION_IP_PROHIBITED = 4,
  CONNECTION_REFUSED = 6,
  CONNECTION_TIMEOUT = 8,
  CONNECTION_LIMIT_REACHED = 11,
  TLS_PROTOCOL_ERROR = 12,
  TLS_CERTIFICATE_ERROR = 13,
  REQUEST_DENIED = 15,
  REQUEST_BODY_SIZE = 17,
  METHOD_INVALID = 18,
  URI_INVALID = 19,
  REQUEST_HEADER_SECTION_SIZE = 21,
  TRAILER_SECTION_SIZE = 23,
  RESPONSE_BODY_SIZE = 28,
  RESPONSE_TIMEOUT = 33,
  PROTOCOL_ERROR = 35,
  INTERNAL_ERROR = 38,
};

// Bytes of `error-code`: the case, and at 8 the payload.
#define CODE_BYTES 32

// Writes a case without a payload, or with an optional size, which 0 stands for the lack of.
static void write_code(u8 *to, u32 code, u64 size) {
  __builtin_memset(to, 0, CODE_BYTES);
  U8(to, 0) = code;
  U8(to, 8) = size != 0;
  U64(to, 16) = size;
}

// Fields

// Why `header-error` refuses a field.
enum { INVALID_SYNTAX, FORBIDDEN, IMMUTABLE, ACCEPTED };

typedef struct {
  // The name in lower case, and then the value.
  u8 *text;
  u32 name_len, len;
} Field;

typedef struct {
  u32 kind;
  u32 is_fixed;
  Field *all;
  u32 count, room;
} Fields;

static i32 is_token(u8 *text, u32 len) {
  for (u32 i = 0; i < len; i++) {
    u8 it = lower(text[i]);
    if ((it >= 'a' && it <= 'z') || (it >= '0' && it <= '9')) continue;
    if (it == '!' || (it >= '#' && it <= '\'') || it == '*' || it == '+' || it == '-' || it == '.') continue;
    if (it == '^' || it == '_' || it == '`' || it == '|' || it == '~') continue;
    return 0;
  }
  return len > 0;
}

static u32 check_name(u8 *name, u32 len) {
  if (!is_token(name, len)) return INVALID_SYNTAX;
  // The host sets these. A length may be given and has to be right.
  i32 forbidden = is_word(name, len, WORD("connection")) || is_word(name, len, WORD("expect")) ||
                  is_word(name, len, WORD("host")) || is_word(name, len, WORD("http2-settings")) ||
                  is_word(name, len, WORD("keep-alive")) || is_word(name, len, WORD("proxy-authenticate")) ||
                  is_word(name, len, WORD("proxy-authorization")) || is_word(name, len, WORD("proxy-connection")) ||
                  is_word(name, len, WORD("te")) || is_word(name, len, WORD("trailer")) ||
                  is_word(name, len, WORD("transfer-encoding")) || is_word(name, len, WORD("upgrade"));
  return forbidden ? FORBIDDEN : ACCEPTED;
}

static u32 check_value(u8 *value, u32 len) {
  for (u32 i = 0; i < len; i++)
    if ((value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f) return INVALID_SYNTAX;
  return ACCEPTED;
}

static u32 check_change(Fields *fields, u8 *name, u32 len) {
  return fields->is_fixed ? IMMUTABLE : check_name(name, len);
}

// Writes `result<_, header-error>`.
static void header_result(u8 *result, u32 found) {
  U8(result, 0) = found != ACCEPTED;
  U8(result, 1) = found;
}

static void add_field(Fields *fields, u8 *name, u32 name_len, u8 *value, u32 len) {
  if (fields->count == fields->room) {
    u32 room = 2 * fields->room + 8;
    Field *longer = take_block(room * sizeof(Field));
    if (fields->count) __builtin_memcpy(longer, fields->all, fields->count * sizeof(Field));
    give_block(fields->all);
    fields->all = longer;
    fields->room = room;
  }
  Field *field = &fields->all[fields->count++];
  field->text = take_block(name_len + len);
  for (u32 i = 0; i < name_len; i++) field->text[i] = lower(name[i]);
  if (len) __builtin_memcpy(field->text + name_len, value, len);
  field->name_len = name_len;
  field->len = len;
}

static Fields *copy_fields(Fields *from, i32 is_fixed) {
  Fields *copy = new_resource(FIELDS, sizeof(Fields));
  copy->is_fixed = is_fixed;
  for (u32 i = 0; i < from->count; i++) {
    Field *field = &from->all[i];
    add_field(copy, field->text, field->name_len, field->text + field->name_len, field->len);
  }
  return copy;
}

static void free_fields(Fields *fields) {
  for (u32 i = 0; i < fields->count; i++) give_block(fields->all[i].text);
  give_block(fields->all);
  forget(fields);
}

static i32 has_name(Field *field, u8 *name, u32 len) {
  i32 same = field->name_len == len;
  for (u32 i = 0; same && i < len; i++) same = field->text[i] == lower(name[i]);
  return same;
}

static u32 count_of(Fields *fields, u8 *name, u32 len) {
  u32 found = 0;
  for (u32 i = 0; i < fields->count; i++) found += has_name(&fields->all[i], name, len);
  return found;
}

static void remove_fields(Fields *fields, u8 *name, u32 len) {
  u32 kept = 0;
  for (u32 i = 0; i < fields->count; i++) {
    if (has_name(&fields->all[i], name, len)) give_block(fields->all[i].text);
    else fields->all[kept++] = fields->all[i];
  }
  fields->count = kept;
}

TYPES("[constructor]fields") void *fields_new(void) { return new_resource(FIELDS, sizeof(Fields)); }

TYPES("[static]fields.from-list") void fields_from_list(Bytes *pairs, u32 n, u8 *result) {
  Fields *fields = fields_new();
  u32 found = ACCEPTED;
  for (; n && found == ACCEPTED; n--, pairs += 2) {
    found = check_name(pairs[0].at, pairs[0].len);
    if (found == ACCEPTED) found = check_value(pairs[1].at, pairs[1].len);
    if (found == ACCEPTED) add_field(fields, pairs[0].at, pairs[0].len, pairs[1].at, pairs[1].len);
  }
  U8(result, 0) = found != ACCEPTED;
  if (found == ACCEPTED) {
    U32(result, 4) = (u32)fields;
    return;
  }
  U8(result, 4) = found;
  free_fields(fields);
}

TYPES("[method]fields.get") void fields_get(Fields *handle, u8 *name, u32 len, u8 *result) {
  Fields *fields = resource(handle, FIELDS);
  u32 found = count_of(fields, name, len);
  u8 *list = allocate(4, found * 8);
  U32(result, 0) = (u32)list;
  U32(result, 4) = found;
  for (u32 i = 0; i < fields->count; i++) {
    Field *field = &fields->all[i];
    if (!has_name(field, name, len)) continue;
    give_list(list, field->text + field->name_len, field->len);
    list += 8;
  }
}

TYPES("[method]fields.has") i32 fields_has(Fields *handle, u8 *name, u32 len) {
  return count_of(resource(handle, FIELDS), name, len) > 0;
}

TYPES("[method]fields.set") void fields_set(Fields *handle, u8 *name, u32 len, Bytes *values, u32 n, u8 *result) {
  Fields *fields = resource(handle, FIELDS);
  u32 found = check_change(fields, name, len);
  for (u32 i = 0; i < n && found == ACCEPTED; i++) found = check_value(values[i].at, values[i].len);
  if (found == ACCEPTED) {
    remove_fields(fields, name, len);
    for (u32 i = 0; i < n; i++) add_field(fields, name, len, values[i].at, values[i].len);
  }
  header_result(result, found);
}

TYPES("[method]fields.delete") void fields_delete(Fields *handle, u8 *name, u32 len, u8 *result) {
  Fields *fields = resource(handle, FIELDS);
  // One that the host sets may be there, from a response, and has to go before a request can be sent with it.
  u32 found = fields->is_fixed ? IMMUTABLE : is_token(name, len) ? ACCEPTED : INVALID_SYNTAX;
  if (found == ACCEPTED) remove_fields(fields, name, len);
  header_result(result, found);
}

TYPES("[method]fields.append")
void fields_append(Fields *handle, u8 *name, u32 len, u8 *value, u32 value_len, u8 *result) {
  Fields *fields = resource(handle, FIELDS);
  u32 found = check_change(fields, name, len);
  if (found == ACCEPTED) found = check_value(value, value_len);
  if (found == ACCEPTED) add_field(fields, name, len, value, value_len);
  header_result(result, found);
}

TYPES("[method]fields.entries") void fields_entries(Fields *handle, u8 *result) {
  Fields *fields = resource(handle, FIELDS);
  u8 *pair = allocate(4, fields->count * 16);
  U32(result, 0) = (u32)pair;
  U32(result, 4) = fields->count;
  for (u32 i = 0; i < fields->count; i++, pair += 16) {
    Field *field = &fields->all[i];
    give_list(pair, field->text, field->name_len);
    give_list(pair + 8, field->text + field->name_len, field->len);
  }
}

TYPES("[method]fields.clone") void *fields_clone(Fields *handle) { return copy_fields(resource(handle, FIELDS), 0); }

// Requests

enum { NO_SCHEME, HTTP_SCHEME, HTTPS_SCHEME, OTHER_SCHEME };

// The first method that has no name in the variant.
#define OTHER_METHOD 9

struct Request {
  u32 kind;
  u32 method, scheme;
  Bytes other_method, other_scheme, path, authority;
  u32 has_path, has_authority;
  Fields *headers;
  OutgoingBody *body;
};

// How a request was answered.
typedef struct {
  u32 kind;
  u32 status;
  Fields *headers;
  // The block of the whole reply, and the body in it.
  void *reply;
  Bytes body;
  u32 body_taken;
} Response;

enum { WAITING, FAILED, ANSWERED, TAKEN };

struct Future {
  u32 kind;
  u32 state;
  // What is to be sent, and how long that may take; 0 for as long as the host allows.
  Request *request;
  u32 timeout;
  // Why it failed: the case of `error-code`, and its payload.
  u32 code;
  u64 size;
  Bytes text;
  Response *response;
};

typedef struct {
  u32 kind;
  u32 has_first_byte;
  u64 first_byte;
} RequestOptions;

static i32 is_waiting(Future *future) { return future && future->kind == FUTURE && future->state == WAITING; }

static void free_body(OutgoingBody *body) {
  give_block(body->at);
  forget(body);
}

static void free_request(Request *request) {
  give_block(request->other_method.at);
  give_block(request->other_scheme.at);
  give_block(request->path.at);
  give_block(request->authority.at);
  free_fields(request->headers);
  // A body that the component still has goes when it is dropped.
  if (request->body && request->body->is_held) request->body->request = 0;
  else if (request->body) free_body(request->body);
  forget(request);
}

static void fail(Future *future, u32 code, u64 size) {
  future->state = FAILED;
  future->code = code;
  future->size = size;
}

static void fail_unfinished(Future *future) {
  if (!is_waiting(future)) return;
  // What is finished later is not sent.
  future->request->body->future = 0;
  fail(future, INTERNAL_ERROR, 0);
  future->text.at = take_block(24);
  future->text.len = write_word(future->text.at, WORD("body is not finished")) - future->text.at;
}

static i32 mentions(u8 *text, u32 len, u64 first, u64 second, u64 third, u32 word_len) {
  for (u32 i = 0; i + word_len <= len; i++)
    if (is_word(text + i, word_len, first, second, third, word_len)) return 1;
  return 0;
}

// Finds the case for the error that the host tells of: a word and a sentence.
static u32 code_of(u8 *text, u32 len) {
  u32 first = 0;
  while (first < len && text[first] != ' ') first++;
  if (is_word(text, first, WORD("address"))) return DESTINATION_IP_PROHIBITED;
  if (is_word(text, first, WORD("dns"))) return DNS_ERROR;
  if (is_word(text, first, WORD("connect")))
    return mentions(text, len, WORD("refused")) ? CONNECTION_REFUSED : DESTINATION_UNAVAILABLE;
  if (is_word(text, first, WORD("tls")))
    return mentions(text, len, WORD("certificate")) ? TLS_CERTIFICATE_ERROR : TLS_PROTOCOL_ERROR;
  if (is_word(text, first, WORD("timeout")))
    return mentions(text, len, WORD("no connection")) ? CONNECTION_TIMEOUT : RESPONSE_TIMEOUT;
  if (is_word(text, first, WORD("protocol"))) return PROTOCOL_ERROR;
  if (is_word(text, first, WORD("invalid"))) {
    u8 *why = text + first + 1;
    u32 rest = len > first ? len - first - 1 : 0;
    if (rest >= 15 && is_word(why, 15, WORD("the request has"))) return REQUEST_HEADER_SECTION_SIZE;
    if (rest >= 11 && is_word(why, 11, WORD("the headers"))) return REQUEST_HEADER_SECTION_SIZE;
    // One of the host's own, which a component may have from a response. No case says that, so the text does.
    if (rest >= 10 && is_word(why, 10, WORD("the header"))) return INTERNAL_ERROR;
    return URI_INVALID;
  }
  if (!is_word(text, first, WORD("limit"))) return INTERNAL_ERROR;
  if (mentions(text, len, WORD("the request has"))) return REQUEST_BODY_SIZE;
  return mentions(text, len, WORD("the response has")) ? RESPONSE_BODY_SIZE : CONNECTION_LIMIT_REACHED;
}

// The parts of a bulk string in a reply.
static u32 bulk_len(u8 *bulk) { return number(bulk + 1); }

static u8 *bulk_at(u8 *bulk) { return line_end(bulk) + 2; }

static u8 *bulk_end(u8 *bulk) { return bulk_at(bulk) + bulk_len(bulk) + 2; }

static Response *read_response(u8 *reply) {
  Response *response = new_resource(RESPONSE, sizeof(Response));
  response->reply = reply;
  u32 words = number(reply + 1);
  u8 *at = line_end(reply) + 2;
  response->status = number(at + 1);
  // After the URL.
  at = bulk_end(line_end(at) + 2);
  response->body.at = bulk_at(at);
  response->body.len = bulk_len(at);
  response->headers = new_resource(FIELDS, sizeof(Fields));
  u8 *name = bulk_end(at);
  for (u32 found = (words - 3) / 2; found; found--) {
    u8 *value = bulk_end(name);
    add_field(response->headers, bulk_at(name), bulk_len(name), bulk_at(value), bulk_len(value));
    name = bulk_end(value);
  }
  return response;
}

static u8 *write_method(u8 *to, u32 method) {
  if (method == 0) return write_word(to, WORD("GET"));
  if (method == 1) return write_word(to, WORD("HEAD"));
  if (method == 2) return write_word(to, WORD("POST"));
  if (method == 3) return write_word(to, WORD("PUT"));
  if (method == 4) return write_word(to, WORD("DELETE"));
  if (method == 6) return write_word(to, WORD("OPTIONS"));
  return write_word(to, WORD("PATCH"));
}

// Sends a request, whose body is whole, and lets the future have the response.
static void send(Future *future) {
  Request *request = future->request;
  OutgoingBody *body = request->body;
  u32 body_len = body ? body->len : 0;
  // Each field as the host takes it: name and value. A length is the host's to say.
  Bytes *pairs = take_block(request->headers->count * 2 * sizeof(Bytes)), *pair = pairs;
  for (u32 i = 0; i < request->headers->count; i++) {
    Field *field = &request->headers->all[i];
    if (is_word(field->text, field->name_len, WORD("content-length"))) continue;
    pair[0].at = field->text;
    pair[0].len = field->name_len;
    pair[1].at = field->text + field->name_len;
    pair[1].len = field->len;
    pair += 2;
  }
  u8 *url = take_block(16 + request->authority.len + request->path.len);
  u8 *to = request->scheme == HTTP_SCHEME ? write_word(url, WORD("http://")) : write_word(url, WORD("https://"));
  if (request->authority.len) __builtin_memcpy(to, request->authority.at, request->authority.len);
  to += request->authority.len;
  if (!request->path.len || request->path.at[0] != '/') *to++ = '/';
  if (request->path.len) __builtin_memcpy(to, request->path.at, request->path.len);
  to += request->path.len;
  u8 *method = take_block(8);
  u32 len = write_request(method, write_method(method, request->method) - method, url, to - url, (u32 *)pairs,
                          (pair - pairs) / 2, body_len ? body->at : 0, body_len, future->timeout != 0, future->timeout,
                          1, 0);
  give_block(method);
  give_block(url);
  give_block(pairs);
  i32 status = len ? http((void *)scratch_at, len, 0, 0) : ERRORS_FROM - 4;
  future->request = 0;
  free_request(request);
  if (status == ERRORS_FROM) return fail(future, REQUEST_DENIED, 0);
  if (status < 0) return fail(future, REQUEST_BODY_SIZE, body_len);
  u8 *reply = take_block(status);
  take(reply, 0, status);
  if (*reply == '-') {
    u32 text_len = line_end(reply + 1) - (reply + 1), code = code_of(reply + 1, text_len);
    fail(future, code, code == REQUEST_BODY_SIZE ? body_len : 0);
    if (code == INTERNAL_ERROR) replace(&future->text, reply + 1, text_len);
    give_block(reply);
    return;
  }
  future->response = read_response(reply);
  future->state = ANSWERED;
}

TYPES("[constructor]outgoing-request") void *request_new(Fields *headers) {
  Request *request = new_resource(REQUEST, sizeof(Request));
  request->headers = resource(headers, FIELDS);
  request->headers->is_fixed = 1;
  return request;
}

TYPES("[method]outgoing-request.headers") void *request_headers(Request *handle) {
  return copy_fields(((Request *)resource(handle, REQUEST))->headers, 1);
}

#define NOT_DECLARED ((u64)-1)

// Returns the length that `content-length` says. No body has the one of a field that is no number, or of two that
// differ.
static u64 declared_length(Fields *headers) {
  u64 found = NOT_DECLARED;
  for (u32 i = 0; i < headers->count; i++) {
    Field *field = &headers->all[i];
    if (!is_word(field->text, field->name_len, WORD("content-length"))) continue;
    u64 declared = 0;
    for (u32 at = 0; at < field->len; at++) {
      u8 digit = field->text[field->name_len + at] - '0';
      declared = digit > 9 || declared >> 32 ? (u64)1 << 33 : declared * 10 + digit;
    }
    found = found != NOT_DECLARED && found != declared ? (u64)1 << 33 : declared;
  }
  return found;
}

TYPES("[method]outgoing-request.body") void request_body(Request *handle, u8 *result) {
  Request *request = resource(handle, REQUEST);
  U8(result, 0) = request->body != 0;
  if (request->body) return;
  OutgoingBody *body = new_resource(OUTGOING_BODY, sizeof(OutgoingBody));
  request->body = body;
  body->request = request;
  body->is_held = 1;
  body->declared = declared_length(request->headers);
  body->is_declared = body->declared != NOT_DECLARED;
  U32(result, 4) = (u32)body;
}

static void give_optional(u8 *result, i32 is_there, Bytes text) {
  U8(result, 0) = is_there;
  if (is_there) give_list(result + 4, text.at, text.len);
}

TYPES("[method]outgoing-request.method") void request_method(Request *handle, u8 *result) {
  Request *request = resource(handle, REQUEST);
  U8(result, 0) = request->method;
  if (request->method == OTHER_METHOD) give_list(result + 4, request->other_method.at, request->other_method.len);
}

TYPES("[method]outgoing-request.set-method")
i32 request_set_method(Request *handle, u32 method, u8 *other, u32 len) {
  Request *request = resource(handle, REQUEST);
  if (method == OTHER_METHOD) {
    if (!is_token(other, len)) return 1;
    replace(&request->other_method, other, len);
  }
  request->method = method;
  return 0;
}

TYPES("[method]outgoing-request.path-with-query") void request_path(Request *handle, u8 *result) {
  Request *request = resource(handle, REQUEST);
  give_optional(result, request->has_path, request->path);
}

// True for the characters of a URL that neither begin nor end its parts; the host reads it strictly.
static i32 is_of_url(u8 it) { return it > ' ' && it < 0x7f && it != '#' && it != '\\' && it != '"'; }

TYPES("[method]outgoing-request.set-path-with-query")
i32 request_set_path(Request *handle, i32 is_there, u8 *path, u32 len) {
  Request *request = resource(handle, REQUEST);
  if (!is_there) len = 0;
  if (len && path[0] != '/' && path[0] != '?') return 1;
  for (u32 i = 0; i < len; i++)
    if (!is_of_url(path[i])) return 1;
  replace(&request->path, path, len);
  request->has_path = is_there;
  return 0;
}

TYPES("[method]outgoing-request.scheme") void request_scheme(Request *handle, u8 *result) {
  Request *request = resource(handle, REQUEST);
  U8(result, 0) = request->scheme != NO_SCHEME;
  U8(result, 4) = request->scheme - 1;
  if (request->scheme == OTHER_SCHEME) give_list(result + 8, request->other_scheme.at, request->other_scheme.len);
}

TYPES("[method]outgoing-request.set-scheme")
i32 request_set_scheme(Request *handle, i32 is_there, u32 scheme, u8 *other, u32 len) {
  Request *request = resource(handle, REQUEST);
  if (is_there && scheme + 1 == OTHER_SCHEME) {
    if (!is_token(other, len)) return 1;
    replace(&request->other_scheme, other, len);
  }
  request->scheme = is_there ? scheme + 1 : NO_SCHEME;
  return 0;
}

TYPES("[method]outgoing-request.authority") void request_authority(Request *handle, u8 *result) {
  Request *request = resource(handle, REQUEST);
  give_optional(result, request->has_authority, request->authority);
}

TYPES("[method]outgoing-request.set-authority")
i32 request_set_authority(Request *handle, i32 is_there, u8 *authority, u32 len) {
  Request *request = resource(handle, REQUEST);
  if (!is_there) len = 0;
  else if (!len) return 1;
  // A name or a password before the host is refused too.
  for (u32 i = 0; i < len; i++)
    if (!is_of_url(authority[i]) || authority[i] == '/' || authority[i] == '?' || authority[i] == '@') return 1;
  replace(&request->authority, authority, len);
  request->has_authority = is_there;
  return 0;
}

// Options: a response arrives whole, so that only the time to its first byte can be bounded.

TYPES("[constructor]request-options") void *options_new(void) {
  return new_resource(OPTIONS, sizeof(RequestOptions));
}

TYPES("[method]request-options.connect-timeout") void options_connect(void *handle, u8 *result) {
  resource(handle, OPTIONS);
  U8(result, 0) = 0;
}

TYPES("[method]request-options.set-connect-timeout") i32 options_set_connect(void *handle, i32 is_there, u64 nanos) {
  resource(handle, OPTIONS);
  return is_there != 0;
}

TYPES("[method]request-options.between-bytes-timeout") void options_between(void *handle, u8 *result) {
  resource(handle, OPTIONS);
  U8(result, 0) = 0;
}

TYPES("[method]request-options.set-between-bytes-timeout")
i32 options_set_between(void *handle, i32 is_there, u64 nanos) {
  resource(handle, OPTIONS);
  return is_there != 0;
}

TYPES("[method]request-options.first-byte-timeout") void options_first_byte(RequestOptions *handle, u8 *result) {
  RequestOptions *options = resource(handle, OPTIONS);
  U8(result, 0) = options->has_first_byte;
  U64(result, 8) = options->first_byte;
}

TYPES("[method]request-options.set-first-byte-timeout")
i32 options_set_first_byte(RequestOptions *handle, i32 is_there, u64 nanos) {
  RequestOptions *options = resource(handle, OPTIONS);
  options->has_first_byte = is_there;
  options->first_byte = is_there ? nanos : 0;
  return 0;
}

// Bodies of requests

TYPES("[method]outgoing-body.write") void body_write(OutgoingBody *handle, u8 *result) {
  OutgoingBody *body = resource(handle, OUTGOING_BODY);
  U8(result, 0) = body->stream_taken;
  if (body->stream_taken) return;
  body->stream_taken = body->stream_open = 1;
  Output *output = new_resource(OUTPUT_STREAM, sizeof(Output));
  output->body = body;
  U32(result, 4) = (u32)output;
}

// Ends what a component can do with a body, whose stream must be dropped before.
static void end_body(OutgoingBody *body, u32 state, u32 code, u64 size) {
  if (body->stream_open) __builtin_trap();
  body->state = state;
  body->is_held = 0;
  Future *future = body->future;
  if (!body->request) return free_body(body);
  if (!future) return;
  if (state == BODY_FINISHED) return send(future);
  future->request = 0;
  free_request(body->request);
  fail(future, code, size);
}

TYPES("[static]outgoing-body.finish")
void body_finish(OutgoingBody *handle, i32 has_trailers, Fields *trailers, u8 *result) {
  OutgoingBody *body = resource(handle, OUTGOING_BODY);
  u32 code = 0;
  u64 size = 0;
  if (body->state == BODY_BROKEN || (body->is_declared && body->len != body->declared)) {
    code = REQUEST_BODY_SIZE;
    size = body->len;
  }
  if (has_trailers) {
    // Nobody would get them.
    if (!code && ((Fields *)resource(trailers, FIELDS))->count) code = TRAILER_SECTION_SIZE;
    free_fields(resource(trailers, FIELDS));
  }
  U8(result, 0) = code != 0;
  if (code) write_code(result + 8, code, size);
  end_body(body, code ? BODY_BROKEN : BODY_FINISHED, code, size);
}

// Responses

EXPORT("wasi:http/outgoing-handler#handle")
void hand_over(Request *handle, i32 has_options, RequestOptions *options, u8 *result) {
  Request *request = resource(handle, REQUEST);
  u32 timeout = 0;
  if (has_options) {
    RequestOptions *given = resource(options, OPTIONS);
    // In milliseconds, and never 0, which would be no bound.
    u64 millis = given->first_byte / 1000000 + (given->first_byte % 1000000 != 0);
    if (given->has_first_byte) timeout = !millis ? 1 : millis > 0x7fffffff ? 0x7fffffff : millis;
    forget(given);
  }
  OutgoingBody *body = request->body;
  i32 is_other = request->method == OTHER_METHOD || request->method == 5 || request->method == 7;
  i32 has_url = request->authority.len && request->scheme != OTHER_SCHEME;
  // A request without a body says no other length than 0.
  u64 declared = body ? 0 : declared_length(request->headers);
  i32 is_broken = body ? body->state == BODY_BROKEN : declared && declared != NOT_DECLARED;
  if (is_other || !has_url || is_broken) {
    U8(result, 0) = 1;
    write_code(result + 8, is_other ? METHOD_INVALID : !has_url ? URI_INVALID : REQUEST_BODY_SIZE,
               is_broken && body ? body->len : 0);
    return free_request(request);
  }
  Future *future = new_resource(FUTURE, sizeof(Future));
  future->request = request;
  future->timeout = timeout;
  if (body) body->future = future;
  if (!body || body->state == BODY_FINISHED) send(future);
  U8(result, 0) = 0;
  U32(result, 8) = (u32)future;
}

TYPES("[method]future-incoming-response.subscribe") void *future_subscribe(Future *handle) {
  return pollable(resource(handle, FUTURE), 0);
}

// Writes `option<result<result<_, error-code>>>` up to the value, which is at 24; false if there is none.
static i32 resolved(u8 *result, i32 is_taken, i32 has_failed) {
  U8(result, 0) = 1;
  U8(result, 8) = is_taken;
  U8(result, 16) = has_failed;
  return !is_taken && !has_failed;
}

TYPES("[method]future-incoming-response.get") void future_get(Future *handle, u8 *result) {
  Future *future = resource(handle, FUTURE);
  if (future->state == WAITING) {
    U8(result, 0) = 0;
    return;
  }
  if (resolved(result, future->state == TAKEN, future->state == FAILED)) U32(result, 24) = (u32)future->response;
  if (future->state == FAILED) {
    write_code(result + 24, future->code, future->size);
    if (future->text.at) {
      U8(result, 32) = 1;
      give_list(result + 36, future->text.at, future->text.len);
    }
  }
  future->response = 0;
  future->state = TAKEN;
}

TYPES("[method]incoming-response.status") i32 response_status(Response *handle) {
  return ((Response *)resource(handle, RESPONSE))->status;
}

TYPES("[method]incoming-response.headers") void *response_headers(Response *handle) {
  return copy_fields(((Response *)resource(handle, RESPONSE))->headers, 1);
}

TYPES("[method]incoming-response.consume") void response_consume(Response *handle, u8 *result) {
  Response *response = resource(handle, RESPONSE);
  U8(result, 0) = response->body_taken;
  if (response->body_taken) return;
  response->body_taken = 1;
  IncomingBody *body = new_resource(INCOMING_BODY, sizeof(IncomingBody));
  body->reply = response->reply;
  body->at = response->body.at;
  body->len = response->body.len;
  response->reply = 0;
  U32(result, 4) = (u32)body;
}

TYPES("[method]incoming-body.stream") void body_stream(IncomingBody *handle, u8 *result) {
  IncomingBody *body = resource(handle, INCOMING_BODY);
  U8(result, 0) = body->stream_taken;
  if (body->stream_taken) return;
  body->stream_taken = body->stream_open = 1;
  Input *input = new_resource(INPUT_STREAM, sizeof(Input));
  input->body = body;
  input->at = body->at;
  input->left = body->len;
  U32(result, 4) = (u32)input;
}

static void free_incoming(IncomingBody *body) {
  if (body->stream_open) __builtin_trap();
  give_block(body->reply);
  forget(body);
}

TYPES("[static]incoming-body.finish") void *incoming_finish(IncomingBody *handle) {
  free_incoming(resource(handle, INCOMING_BODY));
  return new_resource(TRAILERS, 8);
}

TYPES("[method]future-trailers.subscribe") void *trailers_subscribe(void *handle) {
  resource(handle, TRAILERS);
  return pollable(0, 0);
}

// There are none.
TYPES("[method]future-trailers.get") void trailers_get(void *handle, u8 *result) {
  u32 *is_taken = (u32 *)resource(handle, TRAILERS) + 1;
  if (resolved(result, *is_taken, 0)) U8(result, 24) = 0;
  *is_taken = 1;
}

TYPES("http-error-code") void http_error_code(StreamError *handle, u8 *result) {
  StreamError *error = resource(handle, STREAM_ERROR);
  U8(result, 0) = !error->number;
  if (!error->number) write_code(result + 8, REQUEST_BODY_SIZE, error->size);
}

// Drops a resource of `wasi:io`, `wasi:filesystem` or `wasi:http`; the compiler calls it for every such type.
EXPORT("resource#drop") void drop(void *handle) {
  if ((u32)handle < STANDARD_STREAMS) return;
  u32 kind = U32(handle, 0);
  if (kind == FIELDS) return free_fields(handle);
  if (kind == REQUEST) return free_request(handle);
  if (kind == OUTGOING_BODY) return end_body(handle, BODY_BROKEN, REQUEST_BODY_SIZE, 0);
  if (kind == FUTURE) {
    Future *future = handle;
    if (future->request) {
      future->request->body->future = 0;
      free_request(future->request);
    }
    give_block(future->text.at);
    if (future->response) drop(future->response);
  } else if (kind == RESPONSE) {
    Response *response = handle;
    free_fields(response->headers);
    give_block(response->reply);
  } else if (kind == INCOMING_BODY) {
    return free_incoming(handle);
  } else if (kind == OUTPUT_STREAM) {
    ((Output *)handle)->body->stream_open = 0;
  } else if (kind == INPUT_STREAM) {
    ((Input *)handle)->body->stream_open = 0;
  } else if (kind == DESCRIPTOR || kind == FILE_INPUT || kind == FILE_OUTPUT) {
    leave_file(((Descriptor *)handle)->file);
  } else if (kind == LISTING) {
    fd_close(((Listing *)handle)->fd);
  } else if (kind == DROPPED || kind > LISTING) {
    __builtin_trap();
  }
  forget(handle);
}
