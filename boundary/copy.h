#ifndef PARLEY_BOUNDARY_COPY_H_
#define PARLEY_BOUNDARY_COPY_H_

// The one routine that moves bytes between private memory and memory that the peer can reach.
//
// Trust: the peer may write the shared side at the same time; then the bytes that arrive are any
// mixture, but each lands in private memory once and is only looked at there. The compiler sees an
// opaque call, so it can neither fetch shared bytes a second time nor reason that they stay.
// Threads: any, on memory that the ring's positions give to one of them.

#include <cstddef>

namespace parley::internal {

// `size_bytes` from `source` to `target`, which do not overlap. Not inlined, on purpose.
void OpaqueCopy(std::byte* target, const std::byte* source, std::size_t size_bytes);

// As above with zeros as the source.
void OpaqueZero(std::byte* target, std::size_t size_bytes);

}  // namespace parley::internal

#endif  // PARLEY_BOUNDARY_COPY_H_
