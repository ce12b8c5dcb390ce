#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes one small film or picture of the test set with ffmpeg.
#
#   make_media.sh NAME OUT    half a second of 160x120 unless NAME says otherwise; for NAME see below
#   make_media.sh --names     the names, one a line
set -eu

ff="ffmpeg -hide_banner -loglevel error -nostdin -y -fflags +bitexact -flags +bitexact"
picture="-f lavfi -i testsrc2=size=160x120:rate=20:duration=0.5"
still="-f lavfi -i testsrc2=size=160x120:rate=1:duration=1 -frames:v 1"
sound="-f lavfi -i sine=frequency=440:sample_rate=16000:duration=0.5"
yuv="-pix_fmt yuv420p"
# Half of it transparent.
half_clear="format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(gt(X,80),255,0)'"

make() {
  # shellcheck disable=SC2086
  case "$1" in
  h264.mp4) $ff $picture $sound -c:v libx264 -preset veryfast -g 5 $yuv -c:a aac -movflags +faststart "$2" ;;
  hevc.mp4) $ff $picture -c:v libx265 -preset ultrafast -x265-params log-level=error $yuv "$2" ;;
  vp9.webm) $ff $picture $sound -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus "$2" ;;
  av1.mkv) $ff $picture -c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 200k $yuv "$2" ;;
  mpeg2.ts) $ff $picture $sound -c:v mpeg2video -q:v 3 -g 5 $yuv -c:a mp2 -f mpegts "$2" ;;
  mpeg4.avi) $ff $picture $sound -c:v mpeg4 -q:v 3 -g 5 $yuv -c:a libmp3lame "$2" ;;
  theora.ogg) $ff $picture -c:v libtheora -q:v 8 $yuv "$2" ;;
  flv1.flv) $ff $picture -c:v flv -q:v 3 -g 5 $yuv "$2" ;;
  wmv2.asf) $ff $picture -c:v wmv2 -q:v 3 -g 5 $yuv "$2" ;;
  prores.mov) $ff $picture -c:v prores_ks "$2" ;;
  ffv1.mkv) $ff $picture -c:v ffv1 -pix_fmt yuv444p "$2" ;;
  mjpeg.mov) $ff $picture -c:v mjpeg -q:v 2 -pix_fmt yuvj422p "$2" ;;
  utvideo.avi) $ff $picture -c:v utvideo -pix_fmt gbrp "$2" ;;
  magicyuv.mkv) $ff $picture -c:v magicyuv -pix_fmt gbrp "$2" ;;
  png.png) $ff $still -c:v png -pix_fmt rgb24 -f image2 "$2" ;;
  palette.png) $ff $still -c:v png -pix_fmt pal8 -f image2 "$2" ;;
  alpha.png) $ff $still -vf "$half_clear" -c:v png -pix_fmt rgba -f image2 "$2" ;;
  gray16.png) $ff $still -c:v png -pix_fmt gray16be -f image2 "$2" ;;
  jpeg.jpg) $ff $still -c:v mjpeg -q:v 2 -pix_fmt yuvj420p -f image2 "$2" ;;
  webp.webp) $ff $still -c:v libwebp -lossless 1 -pix_fmt bgra -f webp "$2" ;;
  bmp.bmp) $ff $still -c:v bmp -pix_fmt bgr24 -f image2 "$2" ;;
  tiff.tiff) $ff $still -c:v tiff -pix_fmt rgb24 -f image2 "$2" ;;
  jpeg2000.jp2) $ff $still -c:v jpeg2000 -pix_fmt rgb24 -f image2 "$2" ;;
  animated.gif) $ff $picture -c:v gif -f gif "$2" ;;
  animated.apng) $ff $picture -c:v apng -pix_fmt rgb24 -f apng "$2" ;;
  animated.webp) $ff $picture -c:v libwebp_anim -lossless 1 -pix_fmt bgra -f webp "$2" ;;
  # What has to come out right besides codecs.
  seek.mp4) $ff -f lavfi -i testsrc=size=160x120:rate=10:duration=6 -c:v libx264 -preset veryfast -g 20 -bf 2 $yuv "$2" ;;
  pixels-4-3.mkv) $ff $picture -vf setsar=4/3 -c:v mpeg4 -q:v 2 $yuv "$2" ;;
  pixels-1-2.mkv) $ff $picture -vf setsar=1/2 -c:v mpeg4 -q:v 2 $yuv "$2" ;;
  bt709.mp4) $ff $picture -vf scale=out_color_matrix=bt709 -colorspace bt709 -color_primaries bt709 -color_trc bt709 -c:v libx264 -preset veryfast $yuv "$2" ;;
  full-range.mp4) $ff $picture -vf scale=out_range=full -color_range pc -c:v libx264 -preset veryfast $yuv "$2" ;;
  ten-bits.mkv) $ff $picture -c:v libx264 -preset veryfast -pix_fmt yuv422p10le "$2" ;;
  pq.mkv) $ff $picture -vf "zscale=tin=bt709:t=smpte2084:pin=bt709:p=bt2020:min=bt709:m=bt2020nc:npl=400:r=tv,format=yuv420p10le" \
    -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv \
    -c:v libx265 -preset ultrafast -x265-params "log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc" "$2" ;;
  hlg.mkv) $ff $picture -vf "zscale=tin=bt709:t=arib-std-b67:pin=bt709:p=bt2020:min=bt709:m=bt2020nc:r=tv,format=yuv420p10le" \
    -color_primaries bt2020 -color_trc arib-std-b67 -colorspace bt2020nc -color_range tv \
    -c:v libx265 -preset ultrafast -x265-params "log-level=error:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc" "$2" ;;
  turned-*.mp4) # by the container's matrix, counter-clockwise
    make h264.mp4 "$2.upright.mp4"
    angle="${1#turned-}"
    $ff -i "$2.upright.mp4" -c copy -metadata:s:v "rotate=${angle%.mp4}" "$2"
    rm "$2.upright.mp4" ;;
  sized-*.png) # pixel format, width x height: sized-pal8-1280x720.png
    name="${1#sized-}" name="${name%.png}"
    $ff -f lavfi -i "testsrc2=size=${name#*-}:rate=1:duration=1" -frames:v 1 -c:v png -pix_fmt "${name%-*}" -f image2 "$2" ;;
  cover.mp3)
    make jpeg.jpg "$2.jpg"
    $ff $sound -i "$2.jpg" -map 0 -map 1 -c:a libmp3lame -c:v copy -id3v2_version 3 -disposition:v attached_pic "$2"
    rm "$2.jpg" ;;
  sound.ogg) $ff $sound -c:a libvorbis "$2" ;;
  wide.png) $ff -f lavfi -i testsrc=size=20000x2:rate=1:duration=1 -frames:v 1 -c:v png -pix_fmt rgb24 -f image2 "$2" ;;
  *)
    echo "make_media.sh: no such file: $1" >&2
    exit 2 ;;
  esac
}

case "${1-}" in
--names) sed -n 's/^  \([a-z0-9-]*\.[a-z0-9]*\)) .*/\1/p' "$0" ;;
"" | -*) sed -n 2,5p "$0" >&2; exit 2 ;;
*) make "$1" "$2" ;;
esac
