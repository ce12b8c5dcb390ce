// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/film_stream.h"

#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "parley/media/incoming_stream.h"
#include "parley/os/deadline.h"

namespace parley::film {

FilmRun StreamFilm(const StreamOptions& options, MediaSink& sink) {
  FilmRun run;
  const int64_t began_ns = MonotonicNowNs();
  SessionOptions session = options.session;
  const Acceptance& acceptance = session.acceptance;
  const IncomingLimits limits = {.format = acceptance.limits,
                                 .max_format_changes = acceptance.max_format_changes,
                                 .alignment = acceptance.alignment};
  for (int useless = 0;
       useless < options.max_useless_workers && run.workers < options.max_workers;) {
    const Delivered before = run.delivered;
    FilmReceiver receiver(limits, before, sink, options.on_again);
    if (options.on_progress) {
      session.on_progress = [&] {
        options.on_progress(receiver.delivered(), receiver.claimed_duration_ns());
      };
    }
    try {
      run.last = RunSession(
          session, {.first_picture = before.key_picture, .first_audio_block = before.audio_blocks},
          receiver);
    } catch (const std::bad_alloc&) {
      // The session's destructors have ended the worker; what was delivered is kept.
      run.last = SessionResult();
      run.last.what = "there is not enough memory";
      return run;
    }
    session.hijack = Hijack::kNone;
    if (options.on_worker_ended) options.on_worker_ended();
    ++run.workers;
    run.delivered = receiver.delivered();
    run.totals = receiver.totals();
    run.description = receiver.description();
    run.sink_code = receiver.status().code();
    run.messages += run.last.messages;
    run.wakeups += run.last.wakeups;
    run.pictures += run.last.pictures;
    run.sound += run.last.audio_blocks;
    run.worker_cpu_seconds += absl::ToDoubleSeconds(run.last.worker_cpu);
    if (run.last.end != SessionEnd::kThrownAway) break;
    const Delivered& now = run.delivered;
    useless =
        now.pictures > before.pictures || now.audio_blocks > before.audio_blocks ? 0 : useless + 1;
    options.say(
        absl::StrFormat("threw the worker away after %d pictures and %d blocks of audio: %s",
                        now.pictures, now.audio_blocks, run.last.what));
    if (useless < options.max_useless_workers && run.workers < options.max_workers &&
        !session.stop()) {
      options.say(absl::StrFormat("another worker resumes at key picture %d", now.key_picture));
    }
  }
  run.seconds = static_cast<double>(MonotonicNowNs() - began_ns) / 1e9;
  return run;
}

}  // namespace parley::film
