// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_LIBAV_INPUT_H_
#define PARLEY_AV_LIBAV_INPUT_H_

// How libav reads a file that is not trusted: from a ByteSource alone, and no other file with it.
//
// Trust: the bytes are the attacker's, and so is every name in them.
// Threads: one at a time for a SourceFile; the rest any.
//
//   SourceFile file{.source = &source};
//   AvIo io(avio_alloc_context(buffer, size, 0, &file, SourceFile::Read, nullptr,
//                              SourceFile::Seek));
//   format->io_open = RefuseToOpen;
//   if (OpensOtherFiles(*demuxer)) ...

#include <cstdint>

#include "parley/av/byte_source.h"
#include "parley/av/libav.h"

namespace parley::av {

// The callbacks of an AVIOContext, whose opaque pointer is one of these.
struct SourceFile {
  ByteSource* source = nullptr;
  uint64_t position = 0;

  static int Read(void* opaque, uint8_t* into, int size);
  static int64_t Seek(void* opaque, int64_t offset, int whence);
};

// Demuxers that open other files, which a file's text names. None of them is offered.
bool OpensOtherFiles(const AVInputFormat& format);

// What remains may name other files as well, as a QuickTime reference film does: never opened.
int RefuseToOpen(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**);

}  // namespace parley::av

#endif  // PARLEY_AV_LIBAV_INPUT_H_
