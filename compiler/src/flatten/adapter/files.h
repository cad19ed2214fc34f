// wasi:filesystem: the directories that the function may use and what is in them, by WASI preview 1 of the host. All
// rules, bounds and errors are the host's, which finds paths beneath their directories itself.

WASI("fd_advise") i32 fd_advise(i32, i64, i64, i32);
WASI("fd_close") i32 fd_close(i32);
WASI("fd_datasync") i32 fd_datasync(i32);
WASI("fd_fdstat_get") i32 fd_fdstat_get(i32, void *);
WASI("fd_filestat_get") i32 fd_filestat_get(i32, void *);
WASI("fd_filestat_set_size") i32 fd_filestat_set_size(i32, i64);
WASI("fd_filestat_set_times") i32 fd_filestat_set_times(i32, i64, i64, i32);
WASI("fd_pread") i32 fd_pread(i32, void *, i32, i64, void *);
WASI("fd_prestat_dir_name") i32 fd_prestat_dir_name(i32, void *, i32);
WASI("fd_prestat_get") i32 fd_prestat_get(i32, void *);
WASI("fd_pwrite") i32 fd_pwrite(i32, void *, i32, i64, void *);
WASI("fd_readdir") i32 fd_readdir(i32, void *, i32, i64, void *);
WASI("fd_sync") i32 fd_sync(i32);
WASI("path_create_directory") i32 path_create_directory(i32, void *, i32);
WASI("path_filestat_get") i32 path_filestat_get(i32, i32, void *, i32, void *);
WASI("path_filestat_set_times") i32 path_filestat_set_times(i32, i32, void *, i32, i64, i64, i32);
WASI("path_link") i32 path_link(i32, i32, void *, i32, i32, void *, i32);
WASI("path_open") i32 path_open(i32, i32, void *, i32, i32, i64, i64, i32, void *);
WASI("path_readlink") i32 path_readlink(i32, void *, i32, void *, i32, void *);
WASI("path_remove_directory") i32 path_remove_directory(i32, void *, i32);
WASI("path_rename") i32 path_rename(i32, void *, i32, i32, void *, i32);
WASI("path_symlink") i32 path_symlink(void *, i32, i32, void *, i32);
WASI("path_unlink_file") i32 path_unlink_file(i32, void *, i32);

#define FILES(name) EXPORT("wasi:filesystem/types#" name)

// A file or directory that the host has open, until its descriptor and all its streams are dropped.
typedef struct {
  i32 fd;
  // The directory that it was found in: one of those that the call begins with.
  i32 root;
  u32 users;
} File;

typedef struct {
  u32 kind;
  File *file;
} Descriptor;

// Begins as a descriptor does.
typedef struct {
  u32 kind;
  File *file;
  u64 position;
  u32 appends;
} FileStream;

// Names that are read at a time. A name has at most 255 bytes, so that several fit.
#define LISTED_BYTES 1024

typedef struct {
  u32 kind;
  // Open for this listing alone, with the host's own list of names.
  i32 fd;
  // After the entry that was given last.
  u64 cookie;
  u32 at, end, is_last;
  u8 names[LISTED_BYTES];
} Listing;

// Bytes in front of the scratch buffer for what the host is given and gives besides bytes.
#define HOST_BYTES 80

// Returns the case of `error-code` for an error number of preview 1.
static u32 file_error(i32 number) {
  if (number == 2) return 0;   // access
  if (number == 8) return 3;   // bad-descriptor
  if (number == 20) return 7;  // exist
  if (number == 28) return 12; // invalid
  if (number == 31) return 14; // is-directory
  if (number == 32) return 15; // loop
  if (number == 33) return 22; // too many open files, which is insufficient-memory
  if (number == 37) return 18; // name-too-long
  if (number == 44) return 20; // no-entry
  if (number == 51) return 23; // insufficient-space
  if (number == 52) return 27; // unsupported
  if (number == 54) return 24; // not-directory
  if (number == 55) return 25; // not-empty
  if (number == 58) return 27; // unsupported
  if (number == 61) return 30; // overflow
  if (number == 69) return 33; // read-only
  if (number == 75) return 36; // cross-device
  if (number == 76) return 31; // not-permitted: the path would have left its directory
  return 13;                   // io
}

#define NAME_NOT_UTF8 9
#define BAD_DESCRIPTOR 8
#define IS_A_DIRECTORY 31

static u8 *write_file_error(u8 *to, i32 number) {
  if (number == BAD_DESCRIPTOR) return write_word(to, WORD("bad-descriptor"));
  if (number == IS_A_DIRECTORY) return write_word(to, WORD("is-directory"));
  if (number == 51) return write_word(to, WORD("insufficient-space"));
  if (number == 69) return write_word(to, WORD("read-only"));
  return write_word(to, WORD("io"));
}

// Writes the head of a result whose error is at `offset`; returns true if there is one.
static i32 file_failed(u8 *result, u32 offset, i32 number) {
  U8(result, 0) = number != 0;
  if (number) U8(result, offset) = file_error(number);
  return number != 0;
}

static void leave_file(File *file) {
  if (--file->users) return;
  fd_close(file->fd);
  give_block(file);
}

static File *file_of(void *handle) { return ((Descriptor *)resource(handle, DESCRIPTOR))->file; }

static i32 fd_of(void *handle) { return file_of(handle)->fd; }

static Descriptor *descriptor(i32 fd, i32 root) {
  File *file = take_block(sizeof(File));
  file->fd = fd;
  file->root = root;
  file->users = 1;
  Descriptor *made = new_resource(DESCRIPTOR, sizeof(Descriptor));
  made->file = file;
  return made;
}

// Number of the first directory.
#define FIRST_DIRECTORY 3

EXPORT("wasi:filesystem/preopens#get-directories") void get_directories(u8 *result) {
  u8 *prestat = scratch(HOST_BYTES);
  u32 n = 0;
  while (!fd_prestat_get(FIRST_DIRECTORY + n, prestat)) n++;
  if (!n) return empty_list(result);
  u8 *pair = allocate(4, n * 12);
  U32(result, 0) = (u32)pair;
  U32(result, 4) = n;
  for (u32 fd = FIRST_DIRECTORY; fd < FIRST_DIRECTORY + n; fd++, pair += 12) {
    fd_prestat_get(fd, prestat);
    u32 len = U32(prestat, 4);
    u8 *name = allocate(1, len);
    fd_prestat_dir_name(fd, name, len);
    U32(pair, 0) = (u32)descriptor(fd, fd);
    U32(pair, 4) = (u32)name;
    U32(pair, 8) = len;
  }
}

// Opening and streams

// The descriptor flags, of which `mutate-directory` needs none here: the directory decides.
enum { READS = 1, WRITES = 2, MUTATES_DIRECTORY = 32 };

// What an opened file may become, as preview 1 numbers its rights and its types.
#define RIGHT_WRITE ((i64)1 << 6)
#define PREVIEW1_DIRECTORY 3

FILES("[method]descriptor.open-at")
void file_open_at(void *handle, u32 lookup, void *path, u32 len, u32 how, u32 flags, u8 *result) {
  File *base = file_of(handle);
  u8 *opened = scratch(HOST_BYTES);
  i64 rights = flags & WRITES ? RIGHT_WRITE : 0;
  if (file_failed(result, 4, path_open(base->fd, lookup, path, len, how, rights, 0, 0, opened))) return;
  U32(result, 4) = (u32)descriptor(U32(opened, 0), base->root);
}

// Gives a stream of a file, if it can be written or, else, read.
static void open_stream(void *handle, u32 kind, u64 position, u32 appends, u8 *result) {
  File *file = file_of(handle);
  u8 *stat = scratch(HOST_BYTES);
  i32 number = fd_fdstat_get(file->fd, stat);
  if (!number && U8(stat, 0) == PREVIEW1_DIRECTORY) number = IS_A_DIRECTORY;
  if (!number && kind == FILE_OUTPUT && !(U64(stat, 8) & RIGHT_WRITE)) number = BAD_DESCRIPTOR;
  if (file_failed(result, 4, number)) return;
  FileStream *stream = new_resource(kind, sizeof(FileStream));
  stream->file = file;
  stream->position = position;
  stream->appends = appends;
  file->users++;
  U32(result, 4) = (u32)stream;
}

FILES("[method]descriptor.read-via-stream") void file_read_stream(void *handle, u64 offset, u8 *result) {
  open_stream(handle, FILE_INPUT, offset, 0, result);
}

FILES("[method]descriptor.write-via-stream") void file_write_stream(void *handle, u64 offset, u8 *result) {
  open_stream(handle, FILE_OUTPUT, offset, 0, result);
}

FILES("[method]descriptor.append-via-stream") void file_append_stream(void *handle, u8 *result) {
  open_stream(handle, FILE_OUTPUT, 0, 1, result);
}

// Reads into the scratch buffer, after the bytes for the host; their number is at 8. Returns an error number.
static i32 read_at(i32 fd, u32 len, u64 offset) {
  u8 *vector = scratch(HOST_BYTES + len);
  U32(vector, 0) = (u32)vector + HOST_BYTES;
  U32(vector, 4) = len;
  return fd_pread(fd, vector, 1, offset, vector + 8);
}

// Writes all bytes, or none; returns an error number.
static i32 write_at(i32 fd, void *bytes, u32 len, u64 offset) {
  u8 *vector = scratch(HOST_BYTES);
  U32(vector, 0) = (u32)bytes;
  U32(vector, 4) = len;
  return fd_pwrite(fd, vector, 1, offset, vector + 8);
}

static i32 read_file(void *handle, u32 len, u8 *result, u32 offset) {
  FileStream *stream = handle;
  i32 number = read_at(stream->file->fd, len, stream->position);
  if (number) {
    stream_failed(result, offset, number, 0);
    return 0;
  }
  u32 found = U32(scratch_at, 8);
  if (len && !found) {
    closed(result, offset);
    return 0;
  }
  stream->position += found;
  U32(result, offset) = scratch_at + HOST_BYTES;
  U32(result, offset + 4) = found;
  return 1;
}

static i32 write_file(void *handle, void *bytes, u32 len, u8 *result, u32 offset) {
  FileStream *stream = handle;
  i32 number = 0;
  if (stream->appends) {
    u8 *stat = scratch(HOST_BYTES);
    number = fd_filestat_get(stream->file->fd, stat);
    stream->position = U64(stat, 32);
  }
  if (!number) number = write_at(stream->file->fd, bytes, len, stream->position);
  if (number) {
    stream_failed(result, offset, number, 0);
    return 0;
  }
  stream->position += len;
  return 1;
}

FILES("filesystem-error-code") void filesystem_error_code(StreamError *handle, u8 *result) {
  StreamError *error = resource(handle, STREAM_ERROR);
  U8(result, 0) = error->number != 0;
  U8(result, 1) = file_error(error->number);
}

// Files

FILES("[method]descriptor.read") void file_read(void *handle, u64 len, u64 offset, u8 *result) {
  u32 most = len < CHUNK ? len : CHUNK;
  if (file_failed(result, 4, read_at(fd_of(handle), most, offset))) return;
  u32 found = U32(scratch_at, 8);
  give_list(result + 4, (u8 *)scratch_at + HOST_BYTES, found);
  U8(result, 12) = found < most;
}

FILES("[method]descriptor.write") void file_write(void *handle, void *bytes, u32 len, u64 offset, u8 *result) {
  if (!file_failed(result, 8, write_at(fd_of(handle), bytes, len, offset))) U64(result, 8) = len;
}

FILES("[method]descriptor.set-size") void file_set_size(void *handle, u64 size, u8 *result) {
  file_failed(result, 1, fd_filestat_set_size(fd_of(handle), size));
}

FILES("[method]descriptor.sync") void file_sync(void *handle, u8 *result) {
  file_failed(result, 1, fd_sync(fd_of(handle)));
}

FILES("[method]descriptor.sync-data") void file_sync_data(void *handle, u8 *result) {
  file_failed(result, 1, fd_datasync(fd_of(handle)));
}

FILES("[method]descriptor.advise")
void file_advise(void *handle, u64 offset, u64 len, u32 advice, u8 *result) {
  file_failed(result, 1, fd_advise(fd_of(handle), offset, len, advice));
}

// Facts

// Returns the case of `descriptor-type` for a type of preview 1.
static u32 type_of(u32 type) {
  // Unknown, devices and directories have the same numbers; then come files, two kinds of sockets, and links.
  return type <= PREVIEW1_DIRECTORY ? type : type == 4 ? 6 : type == 7 ? 5 : 7;
}

FILES("[method]descriptor.get-type") void file_type(void *handle, u8 *result) {
  u8 *stat = scratch(HOST_BYTES);
  if (!file_failed(result, 1, fd_fdstat_get(fd_of(handle), stat))) U8(result, 1) = type_of(U8(stat, 0));
}

FILES("[method]descriptor.get-flags") void file_flags(void *handle, u8 *result) {
  u8 *stat = scratch(HOST_BYTES);
  if (file_failed(result, 1, fd_fdstat_get(fd_of(handle), stat))) return;
  i32 writes = (U64(stat, 8) & RIGHT_WRITE) != 0;
  U8(result, 1) = READS | (!writes ? 0 : U8(stat, 0) == PREVIEW1_DIRECTORY ? MUTATES_DIRECTORY : WRITES);
}

// Writes an `option<datetime>`; files in memory have no times.
static void give_time(u8 *to, u64 nanos) {
  U8(to, 0) = nanos != 0;
  U64(to, 8) = nanos / 1000000000;
  U32(to, 16) = nanos % 1000000000;
}

// Writes `result<descriptor-stat, error-code>`.
static void give_stat(u8 *result, i32 number, u8 *stat) {
  if (file_failed(result, 8, number)) return;
  U8(result, 8) = type_of(U8(stat, 16));
  U64(result, 16) = U64(stat, 24);
  U64(result, 24) = U64(stat, 32);
  give_time(result + 32, U64(stat, 40));
  give_time(result + 56, U64(stat, 48));
  give_time(result + 80, U64(stat, 56));
}

FILES("[method]descriptor.stat") void file_stat(void *handle, u8 *result) {
  u8 *stat = scratch(HOST_BYTES);
  give_stat(result, fd_filestat_get(fd_of(handle), stat), stat);
}

FILES("[method]descriptor.stat-at")
void file_stat_at(void *handle, u32 lookup, void *path, u32 len, u8 *result) {
  u8 *stat = scratch(HOST_BYTES);
  give_stat(result, path_filestat_get(fd_of(handle), lookup, path, len, stat), stat);
}

// Writes `result<metadata-hash-value, error-code>`: the inode and the directory that it is of, then what changes with
// the content.
static void give_hash(u8 *result, i32 number, u8 *stat, i32 root) {
  if (file_failed(result, 8, number)) return;
  U64(result, 8) = U64(stat, 8) + ((u64)(root - FIRST_DIRECTORY) << 56);
  U64(result, 16) = U64(stat, 48) ^ U64(stat, 32) << 40;
}

FILES("[method]descriptor.metadata-hash") void file_hash(void *handle, u8 *result) {
  File *file = file_of(handle);
  u8 *stat = scratch(HOST_BYTES);
  give_hash(result, fd_filestat_get(file->fd, stat), stat, file->root);
}

FILES("[method]descriptor.metadata-hash-at")
void file_hash_at(void *handle, u32 lookup, void *path, u32 len, u8 *result) {
  File *base = file_of(handle);
  u8 *stat = scratch(HOST_BYTES);
  give_hash(result, path_filestat_get(base->fd, lookup, path, len, stat), stat, base->root);
}

FILES("[method]descriptor.is-same-object") i32 file_is_same(void *handle, void *other) {
  File *one = file_of(handle), *two = file_of(other);
  u8 *stat = scratch(HOST_BYTES);
  if (one->root != two->root || fd_filestat_get(one->fd, stat)) return 0;
  u64 inode = U64(stat, 8);
  return !fd_filestat_get(two->fd, stat) && U64(stat, 8) == inode;
}

// Paths

FILES("[method]descriptor.create-directory-at")
void file_create_directory(void *handle, void *path, u32 len, u8 *result) {
  file_failed(result, 1, path_create_directory(fd_of(handle), path, len));
}

FILES("[method]descriptor.remove-directory-at")
void file_remove_directory(void *handle, void *path, u32 len, u8 *result) {
  file_failed(result, 1, path_remove_directory(fd_of(handle), path, len));
}

FILES("[method]descriptor.unlink-file-at") void file_unlink(void *handle, void *path, u32 len, u8 *result) {
  file_failed(result, 1, path_unlink_file(fd_of(handle), path, len));
}

FILES("[method]descriptor.rename-at")
void file_rename(void *handle, void *path, u32 len, void *to, void *new_path, u32 new_len, u8 *result) {
  file_failed(result, 1, path_rename(fd_of(handle), path, len, fd_of(to), new_path, new_len));
}

FILES("[method]descriptor.link-at")
void file_link(void *handle, u32 lookup, void *path, u32 len, void *to, void *new_path, u32 new_len, u8 *result) {
  file_failed(result, 1, path_link(fd_of(handle), lookup, path, len, fd_of(to), new_path, new_len));
}

FILES("[method]descriptor.symlink-at")
void file_symlink(void *handle, void *path, u32 len, void *new_path, u32 new_len, u8 *result) {
  file_failed(result, 1, path_symlink(path, len, fd_of(handle), new_path, new_len));
}

// Longest target of a link.
#define LINK_BYTES 4096

FILES("[method]descriptor.readlink-at") void file_readlink(void *handle, void *path, u32 len, u8 *result) {
  u8 *used = scratch(HOST_BYTES + LINK_BYTES), *target = used + HOST_BYTES;
  if (file_failed(result, 4, path_readlink(fd_of(handle), path, len, target, LINK_BYTES, used))) return;
  u32 found = U32(used, 0);
  if (is_utf8(target, found)) return give_list(result + 4, target, found);
  U8(result, 0) = 1;
  U8(result, 4) = NAME_NOT_UTF8;
}

// Returns the flags of preview 1 for two cases of `new-timestamp`: no change, now, or a time.
static u32 time_flags(u32 access, u32 change) {
  return (access == 2 ? 1 : access == 1 ? 2 : 0) | (change == 2 ? 4 : change == 1 ? 8 : 0);
}

FILES("[method]descriptor.set-times")
void file_set_times(void *handle, u32 access, u64 access_s, u32 access_ns, u32 change, u64 change_s, u32 change_ns,
                    u8 *result) {
  i32 number = fd_filestat_set_times(fd_of(handle), access_s * 1000000000 + access_ns,
                                     change_s * 1000000000 + change_ns, time_flags(access, change));
  file_failed(result, 1, number);
}

FILES("[method]descriptor.set-times-at")
void file_set_times_at(void *handle, u32 lookup, void *path, u32 len, u32 access, u64 access_s, u32 access_ns,
                       u32 change, u64 change_s, u32 change_ns, u8 *result) {
  i32 number = path_filestat_set_times(fd_of(handle), lookup, path, len, access_s * 1000000000 + access_ns,
                                       change_s * 1000000000 + change_ns, time_flags(access, change));
  file_failed(result, 1, number);
}

// Listings

FILES("[method]descriptor.read-directory") void file_list(void *handle, u8 *result) {
  // A descriptor of its own, because the host keeps one list of names for each.
  u8 *opened = scratch(HOST_BYTES), *path = opened + 4;
  *path = '.';
  if (file_failed(result, 4, path_open(fd_of(handle), 0, path, 1, 2, 0, 0, 0, opened))) return;
  i32 fd = U32(opened, 0);
  Listing *listing = new_resource(LISTING, sizeof(Listing));
  listing->fd = fd;
  U32(result, 4) = (u32)listing;
}

// Bytes of an entry before its name.
#define ENTRY_HEAD 24

FILES("[method]directory-entry-stream.read-directory-entry") void file_next_name(Listing *handle, u8 *result) {
  Listing *listing = resource(handle, LISTING);
  for (;;) {
    u8 *entry = listing->names + listing->at;
    u32 left = listing->end - listing->at;
    if (left >= ENTRY_HEAD && left - ENTRY_HEAD >= U32(entry, 16)) {
      u32 len = U32(entry, 16);
      listing->cookie = U64(entry, 0);
      listing->at += ENTRY_HEAD + len;
      U8(result, 0) = !is_utf8(entry + ENTRY_HEAD, len);
      U8(result, 4) = U8(result, 0) ? NAME_NOT_UTF8 : 1;
      if (U8(result, 0)) return;
      U8(result, 8) = type_of(U8(entry, 20));
      return give_list(result + 12, entry + ENTRY_HEAD, len);
    }
    if (listing->is_last) {
      U8(result, 0) = 0;
      U8(result, 4) = 0;
      return;
    }
    u8 *used = scratch(HOST_BYTES);
    i32 number = fd_readdir(listing->fd, listing->names, LISTED_BYTES, listing->cookie, used);
    if (file_failed(result, 4, number)) return;
    listing->at = 0;
    listing->end = U32(used, 0);
    // A buffer that is not full has the last of the names.
    listing->is_last = listing->end < LISTED_BYTES;
  }
}
