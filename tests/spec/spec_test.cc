// SPDX-License-Identifier: Apache-2.0

// docs/SPEC.md against the headers, in both directions.
//
// Three sources must agree: the tables and hex blocks of the page, the text of the headers (for
// which names exist), and what the compiler says of each name (below). So a field or constant that
// is new, gone, moved or renamed in one of them fails here until the others follow.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/channel/bulk.h"
#include "parley/channel/bulk_wire.h"
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/wire.h"
#include "parley/os/deadline.h"
#include "parley/patterns/latest/core.h"
#include "parley/patterns/latest/layout.h"
#include "parley/patterns/request/request.h"
#include "parley/patterns/request/wire.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/producer.h"
#include "parley/sealing/seals.h"
#include "parley/shm/arena_layout.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/heap_memory.h"
#include "parley/wait/layout.h"

namespace parley {
namespace {

// --- what the compiler says ----------------------------------------------------------------------

struct Place {
  uint64_t offset = 0;
  uint64_t size = 0;
  bool operator==(const Place&) const = default;
};

struct Struct {
  uint64_t size = 0;
  std::map<std::string, Place> fields;
};

using Structs = std::map<std::string, Struct>;
using Constants = std::map<std::string, uint64_t>;

#define FIELD(type, field)                                 \
  {                                                        \
    #field, { offsetof(type, field), sizeof(type::field) } \
  }
#define CONSTANT(name) {#name, static_cast<uint64_t>(name)}

Structs CompiledStructs() {
  return {
      {"MessageHeaderWire",
       {sizeof(MessageHeaderWire),
        {FIELD(MessageHeaderWire, magic), FIELD(MessageHeaderWire, version),
         FIELD(MessageHeaderWire, type), FIELD(MessageHeaderWire, size_bytes),
         FIELD(MessageHeaderWire, format_bytes)}}},
      {"SectionWire",
       {sizeof(SectionWire),
        {FIELD(SectionWire, kind), FIELD(SectionWire, reserved), FIELD(SectionWire, count),
         FIELD(SectionWire, bytes)}}},
      {"HelloWire",
       {sizeof(HelloWire),
        {FIELD(HelloWire, header), FIELD(HelloWire, version_min), FIELD(HelloWire, version_max),
         FIELD(HelloWire, features), FIELD(HelloWire, roles), FIELD(HelloWire, doorbells),
         FIELD(HelloWire, send_max_message_bytes), FIELD(HelloWire, receive_max_message_bytes),
         FIELD(HelloWire, send_sections), FIELD(HelloWire, receive_sections),
         FIELD(HelloWire, broadcast_sections), FIELD(HelloWire, reserved)}}},
      {"WelcomeWire",
       {sizeof(WelcomeWire),
        {FIELD(WelcomeWire, header), FIELD(WelcomeWire, version), FIELD(WelcomeWire, reserved),
         FIELD(WelcomeWire, features), FIELD(WelcomeWire, roles), FIELD(WelcomeWire, doorbell),
         FIELD(WelcomeWire, channel_id), FIELD(WelcomeWire, send_max_message_bytes),
         FIELD(WelcomeWire, receive_max_message_bytes), FIELD(WelcomeWire, send_sections),
         FIELD(WelcomeWire, receive_sections), FIELD(WelcomeWire, broadcast_sections),
         FIELD(WelcomeWire, reserved2)}}},
      {"ChannelIdWire",
       {sizeof(ChannelIdWire), {FIELD(ChannelIdWire, header), FIELD(ChannelIdWire, channel_id)}}},
      {"RefusedWire",
       {sizeof(RefusedWire),
        {FIELD(RefusedWire, header), FIELD(RefusedWire, reason), FIELD(RefusedWire, reserved)}}},
      {"ControlWire",
       {sizeof(ControlWire),
        {FIELD(ControlWire, producer), FIELD(ControlWire, consumer), FIELD(ControlWire, waiting)}}},
      {"WaitLinesWire",
       {sizeof(WaitLinesWire), {FIELD(WaitLinesWire, wait), FIELD(WaitLinesWire, doorbell)}}},
      {"ProducerLineWire",
       {sizeof(ProducerLineWire),
        {FIELD(ProducerLineWire, tail), FIELD(ProducerLineWire, state),
         FIELD(ProducerLineWire, reserved)}}},
      {"ConsumerLineWire",
       {sizeof(ConsumerLineWire),
        {FIELD(ConsumerLineWire, head), FIELD(ConsumerLineWire, state),
         FIELD(ConsumerLineWire, reserved)}}},
      {"WaitLineWire",
       {sizeof(WaitLineWire),
        {FIELD(WaitLineWire, receive_epoch), FIELD(WaitLineWire, send_epoch),
         FIELD(WaitLineWire, reserved)}}},
      {"SignalLineWire",
       {sizeof(SignalLineWire),
        {FIELD(SignalLineWire, data_signals), FIELD(SignalLineWire, space_signals),
         FIELD(SignalLineWire, reserved)}}},
      {"RecordHeaderWire",
       {sizeof(RecordHeaderWire),
        {FIELD(RecordHeaderWire, size_bytes), FIELD(RecordHeaderWire, tag)}}},
      {"BulkHeaderWire",
       {sizeof(BulkHeaderWire),
        {FIELD(BulkHeaderWire, total_bytes), FIELD(BulkHeaderWire, reserved)}}},
      {"FrameLineWire",
       {sizeof(FrameLineWire), {FIELD(FrameLineWire, generation), FIELD(FrameLineWire, reserved)}}},
      {"LatestHeadWire",
       {sizeof(LatestHeadWire), {FIELD(LatestHeadWire, version), FIELD(LatestHeadWire, reserved)}}},
      {"LatestSlotWire",
       {sizeof(LatestSlotWire),
        {FIELD(LatestSlotWire, sequence), FIELD(LatestSlotWire, size_bytes),
         FIELD(LatestSlotWire, reserved)}}},
      {"RequestHeaderWire",
       {sizeof(RequestHeaderWire),
        {FIELD(RequestHeaderWire, kind), FIELD(RequestHeaderWire, code),
         FIELD(RequestHeaderWire, id), FIELD(RequestHeaderWire, budget_us)}}},
      {"FrameSentWire",
       {sizeof(FrameSentWire),
        {FIELD(FrameSentWire, id), FIELD(FrameSentWire, dropped), FIELD(FrameSentWire, generation),
         FIELD(FrameSentWire, offset_bytes), FIELD(FrameSentWire, size_bytes)}}},
      {"FrameReturnsWire",
       {sizeof(FrameReturnsWire),
        {FIELD(FrameReturnsWire, published), FIELD(FrameReturnsWire, reserved),
         FIELD(FrameReturnsWire, returned)}}},
  };
}

Constants CompiledConstants() {
  return {
      CONSTANT(kWireMagic),
      CONSTANT(kWireVersion),
      CONSTANT(kMaxFormatBytes),
      CONSTANT(kMinMessageLimitBytes),
      CONSTANT(kMaxSections),
      CONSTANT(kSectionArena),
      CONSTANT(kSectionRing),
      CONSTANT(kMaxMessageBytes),
      CONSTANT(MessageType::kHello),
      CONSTANT(MessageType::kWelcome),
      CONSTANT(MessageType::kAccepted),
      CONSTANT(MessageType::kDescriptors),
      CONSTANT(MessageType::kMapped),
      CONSTANT(MessageType::kReady),
      CONSTANT(MessageType::kRefused),
      CONSTANT(kRoleSends),
      CONSTANT(kRoleReceives),
      CONSTANT(kDoorbellEventfd),
      CONSTANT(kDoorbellSocket),
      CONSTANT(kDoorbellFutex),
      CONSTANT(kFeatureBarrierBeforeSleep),
      CONSTANT(kFeatureSkipsFences),
      CONSTANT(kKnownFeatures),
      CONSTANT(RefusalReason::kMalformed),
      CONSTANT(RefusalReason::kVersion),
      CONSTANT(RefusalReason::kFeatures),
      CONSTANT(RefusalReason::kRoles),
      CONSTANT(RefusalReason::kSize),
      CONSTANT(RefusalReason::kIdentity),
      CONSTANT(RefusalReason::kDoorbell),
      CONSTANT(RefusalReason::kFormat),
      CONSTANT(RefusalReason::kResources),
      CONSTANT(RefusalReason::kBusy),
      CONSTANT(RefusalReason::kMemory),
      CONSTANT(RefusalReason::kDeadline),
      CONSTANT(RefusalReason::kUnfinished),
      CONSTANT(kShapeSeals),
      CONSTANT(kRegionSeals),
      CONSTANT(kBlobSeals),
      CONSTANT(kControlBytes),
      CONSTANT(kTailOffset),
      CONSTANT(kProducerStateOffset),
      CONSTANT(kHeadOffset),
      CONSTANT(kConsumerStateOffset),
      CONSTANT(kReceiveEpochOffset),
      CONSTANT(kSendEpochOffset),
      CONSTANT(kDataSignalsOffset),
      CONSTANT(kSpaceSignalsOffset),
      CONSTANT(kStreamOpen),
      CONSTANT(kStreamClosed),
      CONSTANT(kRecordHeaderBytes),
      CONSTANT(kRecordAlignBytes),
      CONSTANT(kMaxTag),
      CONSTANT(kMinCapacityBytes),
      CONSTANT(kMaxCapacityBytes),
      CONSTANT(kMaxFrames),
      CONSTANT(kMinArenaAlignment),
      CONSTANT(kMaxArenaAlignment),
      CONSTANT(kArenaUnitBytes),
      CONSTANT(kMaxArenaBytes),
      CONSTANT(kFrameTableBytes),
      CONSTANT(kFrameReturnsOffset),
      CONSTANT(kMaxFrameMetadataBytes),
      CONSTANT(kSectionLatest),
      CONSTANT(kMinLatestSlots),
      CONSTANT(kMaxLatestSlots),
      CONSTANT(kLatestUnitBytes),
      CONSTANT(kSectionFrames),
      CONSTANT(kLatestFrontBytes),
      CONSTANT(kMaxLatestValueBytes),
      CONSTANT(kRequestStart),
      CONSTANT(kRequestCancel),
      CONSTANT(kRequestResponse),
      CONSTANT(kRequestDone),
      CONSTANT(kRequestCancelled),
      CONSTANT(kRequestExpired),
      CONSTANT(kRequestUserCode),
      CONSTANT(kMaxOutstandingRequests),
  };
}

// --- what the headers' text says: names only -----------------------------------------------------

std::vector<std::string> LinesOf(const std::string& path) {
  std::ifstream file(path);  // a test runs where its data are
  EXPECT_TRUE(file.good()) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

struct Names {
  std::map<std::string, std::set<std::string>> fields;  // by struct
  std::set<std::string> constants;
};

Names NamesInHeaders() {
  static const std::regex kStruct(R"(struct (\w+Wire) \{)");
  static const std::regex kEnum(R"(enum class (\w+) .*\{)");
  static const std::regex kField(R"(\s+[\w:<>, ]+ (\w+);.*)");
  static const std::regex kEnumerator(R"(\s+(k\w+)\b.*)");
  static const std::regex kConstant(R"(inline constexpr \S+ (k\w+) =.*)");
  Names names;
  for (const char* path : {"handshake/wire.h", "ring/layout.h", "wait/layout.h", "sealing/seals.h",
                           "channel/bulk_wire.h", "shm/arena_layout.h", "frames/frame_wire.h",
                           "patterns/latest/layout.h", "patterns/request/wire.h"}) {
    std::string in_struct;
    std::string in_enum;
    for (const std::string& line : LinesOf(path)) {
      std::smatch match;
      if (std::regex_match(line, match, kStruct)) {
        in_struct = match[1];
      } else if (std::regex_match(line, match, kEnum)) {
        in_enum = match[1];
      } else if (line == "};") {
        in_struct.clear();
        in_enum.clear();
      } else if (!in_struct.empty() && std::regex_match(line, match, kField)) {
        names.fields[in_struct].insert(match[1]);
      } else if (!in_enum.empty() && std::regex_match(line, match, kEnumerator)) {
        names.constants.insert(in_enum + "::" + match[1].str());
      } else if (std::regex_match(line, match, kConstant)) {
        names.constants.insert(match[1]);
      }
    }
  }
  return names;
}

// --- what the page says --------------------------------------------------------------------------

struct Page {
  Structs structs;
  Constants constants;
  std::map<std::string, std::string> golden;       // hex digits without spaces
  std::map<std::string, std::vector<Place>> rows;  // by struct, in the order of the page
};

uint64_t Number(const std::string& text) {
  char* end = nullptr;
  const uint64_t value = std::strtoull(text.c_str(), &end, 0);
  EXPECT_TRUE(!text.empty() && *end == '\0') << "not a number: '" << text << "'";
  return value;
}

// "| a | `b` |" as {"a", "b"}.
std::vector<std::string> Cells(const std::string& row) {
  std::vector<std::string> cells;
  std::istringstream text(row.substr(1));
  for (std::string cell; std::getline(text, cell, '|');) {
    const std::size_t first = cell.find_first_not_of(" `");
    const std::size_t last = cell.find_last_not_of(" `");
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return cells;
}

Page ReadPage() {
  static const std::regex kHeading(R"(### `(\w+)`: (\d+) bytes)");
  static const std::string kFence = "```";
  Page page;
  std::string in_struct;
  std::string in_golden;
  std::string table;  // the first cell of the present table's head
  for (const std::string& line : LinesOf("docs/SPEC.md")) {
    std::smatch match;
    if (line.rfind(kFence, 0) == 0) {
      in_golden = in_golden.empty() ? line.substr(kFence.size()) : "";
      if (!in_golden.empty()) page.golden[in_golden];
      continue;
    }
    if (!in_golden.empty()) {
      for (const char c : line.substr(0, line.find('#'))) {
        if (c != ' ') page.golden[in_golden] += c;
      }
    } else if (line.rfind('#', 0) == 0) {
      in_struct.clear();
      if (std::regex_match(line, match, kHeading)) {
        in_struct = match[1];
        EXPECT_EQ(page.structs.count(in_struct), 0u) << in_struct << " is there twice";
        page.structs[in_struct].size = Number(match[2]);
      }
    } else if (line.rfind('|', 0) != 0) {
      table.clear();
    } else if (const auto cells = Cells(line); table.empty()) {
      table = cells[0];
    } else if (cells[0].rfind("---", 0) != 0) {
      if (table == "offset") {
        EXPECT_FALSE(in_struct.empty()) << "a table of offsets under no struct: " << line;
        const Place place = {Number(cells[0]), Number(cells[1])};
        EXPECT_TRUE(page.structs[in_struct].fields.emplace(cells[2], place).second) << line;
        page.rows[in_struct].push_back(place);
      } else if (table == "name") {
        EXPECT_TRUE(page.constants.emplace(cells[0], Number(cells[1])).second) << line;
      }
    }
  }
  return page;
}

template <typename Map>
std::set<std::string> Keys(const Map& map) {
  std::set<std::string> keys;
  for (const auto& [key, value] : map) keys.insert(key);
  return keys;
}

// --- the comparison ------------------------------------------------------------------------------

TEST(SpecTest, EveryFieldIsWhereThePageSays) {
  const Page page = ReadPage();
  const Structs compiled = CompiledStructs();
  const Names names = NamesInHeaders();
  EXPECT_EQ(Keys(page.structs), Keys(compiled));
  EXPECT_EQ(Keys(names.fields), Keys(compiled));
  for (const auto& [name, expected] : compiled) {
    if (page.structs.count(name) == 0 || names.fields.count(name) == 0) continue;
    const Struct& shown = page.structs.at(name);
    EXPECT_EQ(shown.size, expected.size) << name;
    EXPECT_EQ(Keys(shown.fields), Keys(expected.fields)) << name;
    EXPECT_EQ(names.fields.at(name), Keys(expected.fields)) << name;
    for (const auto& [field, place] : shown.fields) {
      if (expected.fields.count(field) == 0) continue;
      EXPECT_EQ(place.offset, expected.fields.at(field).offset) << name << "::" << field;
      EXPECT_EQ(place.size, expected.fields.at(field).size) << name << "::" << field;
    }
  }
}

// In order, without a gap or an overlap, up to the whole size.
TEST(SpecTest, TheTablesLeaveNoByteOut) {
  const Page page = ReadPage();
  EXPECT_FALSE(page.rows.empty());
  for (const auto& [name, rows] : page.rows) {
    uint64_t next = 0;
    for (const Place& place : rows) {
      EXPECT_EQ(place.offset, next) << name;
      next = place.offset + place.size;
    }
    EXPECT_EQ(next, page.structs.at(name).size) << name;
  }
}

TEST(SpecTest, EveryConstantHasTheValueOnThePage) {
  const Page page = ReadPage();
  EXPECT_EQ(page.constants, CompiledConstants());
  EXPECT_EQ(NamesInHeaders().constants, Keys(CompiledConstants()));
}

std::string Hex(absl::Span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes) {
    text += kDigits[std::to_integer<int>(b) >> 4];
    text += kDigits[std::to_integer<int>(b) & 15];
  }
  return text;
}

template <typename Memory>
std::string HexOf(Memory memory, std::size_t offset, std::size_t size) {
  std::vector<std::byte> bytes(size);
  memory.CopyOut(offset, absl::MakeSpan(bytes));
  return Hex(bytes);
}

constexpr std::byte kLetterD{'d'};

TEST(SpecTest, TheGoldenBytesAreWhatTheCodeWrites) {
  std::map<std::string, std::string> written;

  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket;
  hello.send = {65536, 1000};
  hello.format = "raw";
  written["golden-hello"] = Hex(EncodeHello(hello));

  Welcome welcome;
  welcome.roles = kRoleSends;
  welcome.doorbell = kDoorbellEventfd;
  welcome.channel_id = {0x1122334455667788, 0x99aabbccddeeff00};
  welcome.send = {4096, 4088};
  written["golden-welcome"] = Hex(EncodeWelcome(welcome));

  Hello reader;
  reader.doorbells = kDoorbellSocket;
  reader.broadcast_kinds = {3, 0x1234};
  written["golden-hello-broadcast"] = Hex(EncodeHello(reader));

  Welcome shared;
  shared.doorbell = kDoorbellSocket;
  shared.channel_id = {1, 2};
  shared.broadcast = {{3, 4, 4224}, {9, 1, 65536}};
  written["golden-welcome-broadcast"] = Hex(EncodeWelcome(shared));

  written["golden-accepted"] = Hex(EncodeChannelId(MessageType::kAccepted, {1, 2}));
  written["golden-descriptors"] = Hex(EncodeChannelId(MessageType::kDescriptors, {1, 2}));
  written["golden-mapped"] = Hex(EncodeChannelId(MessageType::kMapped, {1, 2}));
  written["golden-ready"] = Hex(EncodeChannelId(MessageType::kReady, {1, 2}));
  written["golden-refused"] = Hex(EncodeRefused(RefusalReason::kSize));

  testing::HeapRegion sender(4096);
  testing::HeapRegion receiver(4096);
  const RingGeometry geometry = {4096, 1024};
  BasicProducer<testing::HeapOwnMemory, testing::HeapPeerMemory> producer(
      sender.own_control(), sender.own_data(), receiver.peer_control(), geometry);
  BasicConsumer<testing::HeapOwnMemory, testing::HeapPeerMemory> consumer(
      receiver.own_control(), sender.peer_control(), sender.peer_data(), geometry);
  const std::string payload = "abc";
  const auto bytes =
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(payload.data()), payload.size());
  ASSERT_EQ(producer.TrySend(0x01020304, bytes), Outcome::kOk);
  producer.Close();
  std::vector<std::byte> buffer(geometry.max_message_bytes);
  Record record;
  ASSERT_EQ(consumer.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
  consumer.Close();
  written["golden-record"] = HexOf(sender.peer_data(), 0, 16);
  written["golden-producer-line"] = HexOf(sender.peer_control(), kTailOffset, 16);
  written["golden-consumer-line"] = HexOf(receiver.peer_control(), kHeadOffset, 16);

  auto pair = testing::ChannelPair::Create();
  ASSERT_TRUE(pair.ok()) << pair.status();
  const std::string message = std::string(kMinBulkChunkBytes, 'a') + "bc";
  BulkSender bulk(&(*pair)->accepting().sender, {.chunk_bytes = kMinBulkChunkBytes});
  ASSERT_TRUE(bulk.Send(0x01020304,
                        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(message.data()),
                                            message.size()),
                        Deadline::After(absl::Seconds(10)))
                  .ok());
  OwnMemory data = HostileAccess::Data((*pair)->accepting().sender);
  written["golden-bulk"] =
      Hex(data.Writable(0, HostileAccess::Published((*pair)->accepting().sender)));

  testing::ChannelPairOptions with_arena;
  with_arena.ring.arena = {8192, 256};
  auto framed = testing::ChannelPair::Create(with_arena);
  ASSERT_TRUE(framed.ok()) << framed.status();
  auto frame_sender = FrameSender::Create((*framed)->accepting());
  auto frame_receiver = FrameReceiver::Create((*framed)->connecting());
  ASSERT_TRUE(frame_sender.ok() && frame_receiver.ok());
  const std::byte metadata{'m'};
  InFrame received;
  for (const std::size_t size : {300u, 3u}) {
    OutFrame frame;
    ASSERT_EQ(frame_sender->TryAcquire(size, &frame), Outcome::kOk);
    ASSERT_EQ(frame_sender->TrySend(&frame, size, 0x01020304, absl::MakeConstSpan(&metadata, 1)),
              Outcome::kOk);
    InFrame in;
    ASSERT_EQ(frame_receiver->TryReceive(&in), Outcome::kOk);
    if (size == 300) received = std::move(in);
  }
  received.Reset();
  OwnMemory frame_ring = HostileAccess::Data((*framed)->accepting().sender);
  written["golden-frame-sent"] =
      Hex(frame_ring.Writable(0, HostileAccess::Published((*framed)->accepting().sender)));
  const PeerMemory returns = HostileAccess::PeerControl((*framed)->accepting().sender);
  written["golden-frame-returns"] = HexOf(returns, kFrameReturnsOffset, 8) +
                                    HexOf(returns, kFrameReturnsOffset + FrameReturnOffset(0), 24);
  written["golden-frame-line"] = HexOf((*framed)->connecting().receiver.arena_memory(), 0, 16);

  const LatestGeometry latest = *LatestGeometry::Make({.max_value_bytes = 128, .slots = 2});
  std::vector<uint64_t> words(latest.section_bytes() / 8);
  const testing::Circle section = {words.data(), words.size() * 8, words.size() * 8};
  internal::BasicLatestWriter<testing::HeapOwnMemory> writer(testing::HeapOwnMemory(section),
                                                             latest);
  writer.Write(bytes);
  writer.Write(absl::MakeConstSpan(&kLetterD, 1));
  const testing::HeapPeerMemory read(section);
  written["golden-latest"] = HexOf(read, 0, 8) + HexOf(read, latest.SequenceOffset(0), 16) +
                             HexOf(read, latest.ValueOffset(0), 1) +
                             HexOf(read, latest.SequenceOffset(1), 16) +
                             HexOf(read, latest.ValueOffset(1), 3);

  auto asking = testing::ChannelPair::Create();
  ASSERT_TRUE(asking.ok()) << asking.status();
  const OwnMemory questions = HostileAccess::Data((*asking)->connecting().sender);
  const OwnMemory answers = HostileAccess::Data((*asking)->accepting().sender);
  auto client = RequestClient::Create(std::move((*asking)->connecting()));
  auto server = RequestServer::Create(std::move((*asking)->accepting()));
  ASSERT_TRUE(client.ok() && server.ok()) << client.status() << server.status();
  uint64_t id = 0;
  const Deadline over = Deadline::AtMonotonicNs(0);
  ASSERT_EQ(client->TryStart(0x01020304, bytes, over, &id), Outcome::kOk);
  ASSERT_EQ(client->TryStart(0x01020304, {}, over, &id), Outcome::kOk);
  client->Cancel(1);
  Request request;
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(server->TryTake(absl::MakeSpan(buffer), &request), Outcome::kOk);
  }
  ASSERT_EQ(server->TryRespond(2, kRequestDone, absl::MakeConstSpan(&kLetterD, 1)), Outcome::kOk);
  const auto written_to = [](OwnMemory ring, std::size_t size) {
    return Hex(ring.Writable(0, size));
  };
  written["golden-request"] = written_to(questions, 40 + 32 + 32);
  written["golden-response"] = written_to(answers, 40);

  EXPECT_EQ(ReadPage().golden, written);
}

}  // namespace
}  // namespace parley
