// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_TESTING_DESCRIPTORS_H_
#define PARLEY_SANDBOX_TESTING_DESCRIPTORS_H_

// For this package's tests: descriptors as one sends them who asks nobody.

#include <sys/socket.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstring>

namespace parley::testing {

// One byte with them. As sendmsg answers, errno included.
template <std::size_t kCount>
ssize_t SendDescriptors(int socket, const std::array<int, kCount>& fds, int flags) {
  char byte = 'x';
  iovec part = {&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(fds))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(fds));
  std::memcpy(CMSG_DATA(header), fds.data(), sizeof(fds));
  return ::sendmsg(socket, &message, flags);
}

}  // namespace parley::testing

#endif  // PARLEY_SANDBOX_TESTING_DESCRIPTORS_H_
