// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_HELLO_PRINTABLE_H_
#define PARLEY_EXAMPLES_HELLO_PRINTABLE_H_

// Text from a peer, made fit for a terminal. A terminal obeys what it is shown: escape sequences
// move the cursor, change the title, on some terminals type for the user.
//
// Trust: takes any bytes. What comes out is valid UTF-8 on one line, without control characters and
// without the marks that reverse the direction of the text around them.
// Threads: a pure function.
//
//   std::cout << Printable(text) << '\n';   // "\e[2J" is shown as \x1b[2J

#include <string>
#include <string_view>

namespace parley {

// Everything that must not reach a terminal is written as \x and two hexadecimal digits per byte.
std::string Printable(std::string_view text);

}  // namespace parley

#endif  // PARLEY_EXAMPLES_HELLO_PRINTABLE_H_
