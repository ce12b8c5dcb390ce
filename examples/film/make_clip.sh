#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes the demo's default clip with ffmpeg, or one of the small clips of the test set.
#
#   make_clip.sh OUT.mp4          H.264 + AAC, 10 s at 720p: a moving picture and recorded speech
#   make_clip.sh --test KIND OUT  2 s at 320x180 unless KIND says otherwise; for KIND see below
set -eu

speech=/usr/share/sounds/alsa
ff="ffmpeg -hide_banner -loglevel error -nostdin -y -fflags +bitexact -flags +bitexact"

default_clip() {
  voices=""
  pads=""
  count=0
  for voice in Front_Left Front_Center Front_Right Rear_Right Rear_Center Rear_Left; do
    voices="$voices -i $speech/$voice.wav"
    pads="$pads[$((count + 1)):a]"
    count=$((count + 1))
  done
  # shellcheck disable=SC2086
  $ff -f lavfi -i "gradients=size=1280x720:rate=30:duration=10:n=6:type=spiral:speed=0.02:seed=7" \
    $voices -f lavfi -i "testsrc2=size=480x270:rate=30:duration=10" -filter_complex \
    "[$((count + 1)):v]pad=iw+8:ih+8:4:4:white[box];\
[0:v][box]overlay=x=(W-w)/2*(1+0.9*sin(1.3*t)):y=(H-h)/2*(1+0.9*cos(1.9*t))[v];\
${pads}concat=n=$count:v=0:a=1,apad,atrim=0:10,aformat=channel_layouts=stereo[a]" \
    -map "[v]" -map "[a]" -c:v libx264 -preset veryfast -crf 23 -g 60 -pix_fmt yuv420p \
    -c:a aac -b:a 128k -movflags +faststart -t 10 -f mp4 "$1"
}

picture="-f lavfi -i testsrc2=size=320x180:rate=25:duration=2"
sound="-i $speech/Front_Center.wav"

# shellcheck disable=SC2086
test_clip() {
  case "$1" in
  h264-aac.mp4)
    $ff $picture $sound -c:v libx264 -preset veryfast -g 12 -pix_fmt yuv420p -c:a aac \
      -movflags +faststart -t 2 -f mp4 "$2" ;;
  vp9-opus.webm)
    $ff $picture $sound -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -threads 1 -c:a libopus \
      -t 2 -f webm "$2" ;;
  mpeg4-mp3.avi)
    $ff $picture $sound -c:v mpeg4 -q:v 5 -c:a libmp3lame -t 2 -f avi "$2" ;;
  odd-size.mp4)
    $ff -f lavfi -i testsrc=size=1919x1079:rate=25:duration=0.4 -c:v mpeg4 -q:v 5 \
      -pix_fmt yuv420p -f mp4 "$2" ;;
  odd-444.mkv)
    $ff -f lavfi -i testsrc=size=319x179:rate=25:duration=1 -c:v ffv1 -pix_fmt yuv444p \
      -f matroska "$2" ;;
  422-10bit.mkv)
    $ff $picture $sound -c:v libx264 -preset veryfast -profile:v high422 -pix_fmt yuv422p10le \
      -c:a flac -t 2 -f matroska "$2" ;;
  rgb.mkv)
    $ff -f lavfi -i testsrc2=size=320x180:rate=25:duration=1 -c:v ffv1 -pix_fmt bgr0 \
      -f matroska "$2" ;;
  mono-8khz.wav)
    $ff $sound -ac 1 -ar 8000 -c:a pcm_s16le -f wav "$2" ;;
  no-audio.mp4)
    $ff $picture -c:v libx264 -preset veryfast -g 12 -pix_fmt yuv420p -f mp4 "$2" ;;
  audio-only.ogg)
    $ff $sound -c:a libvorbis -f ogg "$2" ;;
  resolution-change.ts)
    # Two H.264 elementary streams, one behind the other.
    $ff $picture -c:v libx264 -preset veryfast -g 12 -pix_fmt yuv420p -t 1 -f mpegts "$2.a"
    $ff -f lavfi -i testsrc2=size=480x270:rate=25:duration=1 -c:v libx264 -preset veryfast -g 12 \
      -pix_fmt yuv420p -output_ts_offset 1 -f mpegts "$2.b"
    cat "$2.a" "$2.b" >"$2"
    rm -f "$2.a" "$2.b" ;;
  *)
    echo "make_clip.sh: no such test clip: $1" >&2
    exit 2 ;;
  esac
}

case "${1-}" in
--test) test_clip "$2" "$3" ;;
"" | -*) sed -n 2,6p "$0" >&2; exit 2 ;;
*) default_clip "$1" ;;
esac
