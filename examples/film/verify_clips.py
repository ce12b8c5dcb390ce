#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes some 316 small clips with ffmpeg, and has the film example verify each.

    verify_clips.py --film FILM [--few] [--only REGEX] [--record PAGE]

Each clip has to pass `film --verify` with one worker, and its pictures and blocks of sound have to
be as many as ffprobe says, of the same format and size, at the same times and for as long. --few:
the clips that the test of the film example takes. --record: the result as a page of docs/runs/.
Exit code: 0 if there is no fault.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time

SIZE = "size=52x34:rate=25"
PICTURE = f"-f lavfi -i testsrc2={SIZE}:duration=0.2"
ODD = "-f lavfi -i testsrc2=size=53x35:rate=25:duration=0.2"
SOUND = "-f lavfi -i sine=duration=0.2:sample_rate=48000"
BOTH = f"{PICTURE} {SOUND}"

# `how` is a command line of ffmpeg's between `inputs` and the file; `shell` makes the file {out} of
# others in the folder {d}. `expect` is the format of the first picture or block, where it matters.
Clip = collections.namedtuple("Clip", "name inputs how shell expect few pictures")


def clip(name, inputs, how, expect="", few=False, pictures=None):
    return Clip(name, inputs, how, "", expect, few, pictures)


def made(name, shell, expect="", few=False, pictures=None):
    return Clip(name, "", "", shell, expect, few, pictures)


def both_ends(names):
    return [name + end for name in names.split() for end in ("le", "be")]


# What NUT has a number for; the rest is made by codecs below. No file that Debian's libav can open
# by itself holds NV16, NV20, NV24, NV42, P010 to P416, Y210, AYUV64 or X2RGB10.
RAW = ("gray yuv420p yuv422p yuv444p yuv410p yuv411p yuv440p yuyv422 uyvy422 yvyu422 nv12 nv21 rgb24 bgr24 argb rgba abgr bgra "
       "0rgb rgb0 0bgr bgr0 gbrp gbrap ya8 yuva420p yuva422p yuva444p").split() + both_ends(
           "gray9 gray10 gray12 gray14 gray16 rgb48 bgr48 rgba64 bgra64 rgb565 bgr565 rgb555 bgr555 rgb444 bgr444 xyz12 "
           "yuv420p9 yuv422p9 yuv444p9 yuv420p10 yuv422p10 yuv444p10 yuv420p12 yuv422p12 yuv444p12 yuv420p14 yuv422p14 yuv444p14 "
           "yuv420p16 yuv422p16 yuv444p16 yuva420p9 yuva422p9 yuva444p9 yuva420p10 yuva422p10 yuva444p10 yuva422p12 yuva444p12 "
           "yuva420p16 yuva422p16 yuva444p16 gbrp9 gbrp10 gbrp12 gbrp14 gbrp16 gbrap10 gbrap12 gbrap16")


def clips():
    for name in RAW:
        yield clip(f"raw-{name}.nut", ODD, f"-frames:v 2 -pix_fmt {name} -c:v rawvideo", name)
    # Codecs, and what only they make.
    x264 = "-c:v libx264 -preset ultrafast -bf 2 -g 3"
    for name, how, expect in (
        ("h264.mp4", f"{x264} -pix_fmt yuv420p -c:a aac", "yuv420p"),
        ("h264-422-10.mkv", f"{x264} -pix_fmt yuv422p10le -c:a flac", "yuv422p10le"),
        ("h264-444.mkv", f"{x264} -pix_fmt yuv444p -c:a ac3", "yuv444p"),
        ("h264-gray.mkv", f"{x264} -pix_fmt gray -c:a libopus", "yuvj420p"),
        ("h264-rgb.mkv", "-c:v libx264rgb -preset ultrafast -pix_fmt rgb24 -c:a pcm_f32le", "gbrp"),
        ("hevc-10.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p10le -c:a aac", "yuv420p10le"),
        ("hevc-444-12.mkv", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv444p12le -c:a eac3", "yuv444p12le"),
        ("hevc-gbrp10.mkv", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt gbrp10le -c:a mp2", "gbrp10le"),
        ("vp8.webm", "-c:v libvpx -deadline realtime -c:a libvorbis", "yuv420p"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus", "yuv420p"),
        ("vp9-440.mkv", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv440p -color_range pc", "yuv440p"),
        ("vp9-440-10.mkv", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv440p10le", "yuv440p10le"),
        ("vp9-440-12.mkv", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv440p12le", "yuv440p12le"),
        ("vp9-gbrp.mkv", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt gbrp", "gbrp"),
        ("av1.mkv", "-c:v libaom-av1 -cpu-used 8 -usage realtime -c:a libopus", "yuv420p"),
        ("mpeg1.mpg", "-c:v mpeg1video -c:a mp2 -f mpeg", "yuv420p"),
        ("mpeg2.ts", "-c:v mpeg2video -bf 2 -c:a mp2 -f mpegts", "yuv420p"),
        ("mpeg2-422.mkv", "-c:v mpeg2video -pix_fmt yuv422p", "yuv422p"),
        ("mpeg4.avi", "-c:v mpeg4 -bf 2 -c:a libmp3lame", "yuv420p"),
        ("h263.3gp", "-s 176x144 -c:v h263 -an", "yuv420p"),
        ("flv.flv", "-c:v flv -c:a pcm_s16le -ar 44100 -f flv", "yuv420p"),
        ("wmv.asf", "-c:v wmv2 -c:a wmav2 -f asf", "yuv420p"),
        ("theora.ogv", "-c:v libtheora -c:a libvorbis -f ogg", "yuv420p"),
        ("mjpeg.avi", "-c:v mjpeg -pix_fmt yuvj422p -c:a adpcm_ms", "yuvj422p"),
        ("mjpeg-444.mov", "-c:v mjpeg -pix_fmt yuvj444p -c:a pcm_s24be", "yuvj444p"),
        ("prores.mov", "-c:v prores_ks -c:a pcm_s16be", "yuv422p10le"),
        ("prores-alpha.mov", "-c:v prores_ks -pix_fmt yuva444p10le", "yuva444p12le"),
        ("dnxhr.mov", "-s 256x128 -c:v dnxhd -profile:v dnxhr_hq -pix_fmt yuv422p", "yuv422p"),
        ("dv.avi", "-s 720x480 -r 30000/1001 -pix_fmt yuv411p -c:v dvvideo", "yuv411p"),
        ("cineform.mov", "-s 64x48 -c:v cfhd -pix_fmt gbrap12le", "gbrap12le"),
        ("ffv1-gray16.mkv", "-c:v ffv1 -pix_fmt gray16le", "gray16le"),
        ("ffv1-gbrap16.mkv", "-c:v ffv1 -pix_fmt gbrap16le", "gbrap16le"),
        ("ffv1-gbrp9.mkv", "-c:v ffv1 -pix_fmt gbrp9le", "gbrp9le"),
        ("ffv1-gbrp14.mkv", "-c:v ffv1 -pix_fmt gbrp14le", "gbrp14le"),
        ("ffv1-yuva420.mkv", "-c:v ffv1 -pix_fmt yuva420p", "yuva420p"),
        ("ffv1-yuva444-16.mkv", "-c:v ffv1 -pix_fmt yuva444p16le", "yuva444p16le"),
        ("ffv1-420-16.mkv", "-c:v ffv1 -pix_fmt yuv420p16le", "yuv420p16le"),
        ("ffv1-ya8.mkv", "-c:v ffv1 -pix_fmt ya8", "ya8"),
        ("huffyuv.avi", "-c:v huffyuv -pix_fmt rgb24", "bgr0"),
        ("ffvhuff.avi", "-c:v ffvhuff -pix_fmt yuva422p10le", ""),
        ("utvideo.avi", "-c:v utvideo -pix_fmt gbrap", "gbrap"),
        ("magicyuv.avi", "-c:v magicyuv -pix_fmt yuva444p", "yuva444p"),
        ("qtrle.mov", "-c:v qtrle -pix_fmt argb", "argb"),
        ("cinepak.avi", "-s 52x36 -c:v cinepak", "rgb24"),
        ("zmbv.avi", "-c:v zmbv -pix_fmt bgr0", "bgr0"),
        ("flashsv.flv", "-c:v flashsv -f flv -an", "bgr24"),
        ("msvideo1.avi", "-s 52x36 -c:v msvideo1", "rgb555le"),
        ("v210.mov", "-c:v v210", "yuv422p10le"),
        ("v410.mov", "-c:v v410", "yuv444p10le"),
        ("v308.mov", "-c:v v308", "yuv444p"),
        ("v408.mov", "-c:v v408", "yuva444p"),
        ("r210.mov", "-c:v r210", "gbrp10le"),
        ("snow.avi", "-c:v snow -strict -2", "yuv420p"),
        ("apng.apng", "-c:v apng -pix_fmt rgba -f apng", "rgba"),
        ("gif.gif", "-c:v gif -f gif", ""),
        ("animated-png.mkv", "-c:v png -pix_fmt ya16be", "ya16be"),
        ("png-rgba64.mkv", "-c:v png -pix_fmt rgba64be", "rgba64be"),
        ("png-palette.mkv", "-c:v png -pix_fmt pal8", ""),
        ("png-mono.mkv", "-c:v png -pix_fmt monob", ""),
    ):
        yield clip(name, BOTH, how + (" -c:a pcm_s16le" if name.endswith(".mov") and "-c:a" not in how else ""), expect)
    # Pictures.
    still = "-f lavfi -i testsrc2=size=53x35:rate=25 -frames:v 1"
    for name, how, expect in (
        ("still.png", "-pix_fmt rgb24", "rgb24"), ("alpha.png", "-pix_fmt rgba", "rgba"), ("gray16.png", "-pix_fmt gray16be", "gray16be"),
        ("still.webp", "-c:v libwebp -lossless 1 -pix_fmt bgra", "argb"), ("lossy.webp", "-c:v libwebp -pix_fmt yuv420p", "yuv420p"),
        ("lossy-alpha.webp", "-vf format=rgba,colorchannelmixer=aa=0.5 -c:v libwebp -pix_fmt yuva420p", "yuva420p"), ("still.gif", "", "bgra"),
        ("still.jpg", "-pix_fmt yuvj420p", "yuvj420p"), ("still-444.jpg", "-pix_fmt yuvj444p", "yuvj444p"),
        ("still.tiff", "-pix_fmt rgb24", "rgb24"), ("deep.tiff", "-pix_fmt rgba64le", "rgba64le"), ("gray16.tiff", "-pix_fmt gray16le", "gray16le"),
        ("still.bmp", "-pix_fmt bgr24", "bgr24"), ("565.bmp", "-pix_fmt rgb565le", "rgb565le"), ("still.jp2", "-pix_fmt rgb24", "rgb24"),
        ("deep.jp2", "-pix_fmt rgb48le", ""), ("still.jls", "-pix_fmt gray", "gray"), ("still.jxl", "-pix_fmt rgb24", "rgb24"),
        ("still.exr", "-pix_fmt gbrpf32le", "gbrpf32le"), ("alpha.exr", "-pix_fmt gbrapf32le", "gbrapf32le"), ("gray.exr", "-pix_fmt grayf32le", ""),
        ("still.pfm", "-pix_fmt gbrpf32le", "gbrpf32le"), ("gray.pfm", "-pix_fmt grayf32le", "grayf32le"), ("still.phm", "-pix_fmt gbrpf32le", "gbrpf32le"),
        ("ten.dpx", "-pix_fmt gbrp10le", ""), ("twelve.dpx", "-pix_fmt gbrp12le", ""), ("deep.dpx", "-pix_fmt rgb48be", "rgb48be"),
        ("still.sgi", "-pix_fmt rgba", ""),
        ("still.ppm", "-pix_fmt rgb24", "rgb24"), ("still.pgm", "-pix_fmt gray16be", "gray16le"), ("still.pcx", "-pix_fmt rgb24", "rgb24"), ("still.qoi", "-pix_fmt rgba", "rgba"), ("still.xwd", "-pix_fmt bgra", ""),
    ):
        yield clip("p-" + name, still, how + " -frames:v 1 -update 1", expect, name in ("still.webp", "still.gif", "still.tiff"))
    # Sound.
    many = "-af 'pan=24C|c0=c0|c23=c0'"
    for name, how, expect in (
        ("u8.wav", "-c:a pcm_u8", "u8"), ("s16.wav", "-c:a pcm_s16le", "s16"), ("s24.wav", "-c:a pcm_s24le", "s32"), ("s32.wav", "-c:a pcm_s32le", "s32"),
        ("f32.wav", "-c:a pcm_f32le", "flt"), ("f64.wav", "-c:a pcm_f64le", "dbl"), ("s64.nut", "-c:a pcm_s64le", "s64"), ("be.aiff", "-c:a pcm_s24be", "s32"),
        ("u8p.nut", "-c:a pcm_s8_planar", "u8p"), ("s16p.nut", "-c:a pcm_s16le_planar", "s16p"), ("s32p.nut", "-c:a pcm_s32le_planar", "s32p"),
        ("alaw.wav", "-c:a pcm_alaw -ar 8000", "s16"), ("aac.m4a", "-c:a aac -ac 2", "fltp"), ("aac-5.1.m4a", "-c:a aac -ac 6", "fltp"), ("alac.m4a", "-c:a alac -ac 8", "s16p"),
        ("alac-24.m4a", "-c:a alac -sample_fmt s32p", "s32p"), ("flac.flac", "-c:a flac -ac 2", "s16"), ("flac-24.flac", "-c:a flac -sample_fmt s32 -ac 8 -ar 192000", "s32"),
        ("mp3.mp3", "-c:a libmp3lame -ac 2", "fltp"), ("opus.ogg", "-c:a libopus -ac 6", "fltp"), ("vorbis.ogg", "-c:a libvorbis -ac 2", "fltp"),
        ("ac3.ac3", "-c:a ac3 -ac 6", "fltp"), ("eac3.eac3", "-c:a eac3 -ac 6", "fltp"), ("dts.dts", "-c:a dca -strict -2 -ac 6", "fltp"), ("mp2.mp2", "-c:a mp2", "s16p"),
        ("truehd.mkv", "-c:a truehd -strict -2 -ac 6", "s32"), ("tta.tta", "-c:a tta -ac 2", ""),
        ("wavpack.wv", "-c:a wavpack -ac 2", ""), ("wavpack-f.wv", "-c:a wavpack -sample_fmt fltp -ac 2", "fltp"), ("adpcm.wav", "-c:a adpcm_ima_wav -ac 2", "s16p"),
        ("gsm.wav", "-c:a libgsm_ms -ar 8000", "s16"), ("speex.ogg", "-c:a libspeex -ar 16000", ""),
        ("caf.caf", "-c:a pcm_s24le -ac 2", "s32"), ("au.au", "-c:a pcm_f32be", "flt"), ("w64.w64", "-c:a pcm_s16le -ac 4", "s16"), ("voc.voc", "-c:a pcm_u8 -ar 8000", "u8"),
        ("24-192.wav", f"{many} -c:a pcm_s24le -ar 192000", "s32"), ("24-planar-192.nut", f"{many} -c:a pcm_s16le_planar -ar 192000", "s16p"),
        ("24.caf", f"{many} -c:a pcm_s32le", "s32"), ("22.2.nut", "-af pan=22.2|FL=c0|BFR=c0 -c:a pcm_s16le", "s16"), ("mono-8k.wav", "-c:a pcm_s16le -ar 8000", "s16"),
        ("7.1.wav", "-af pan=7.1|FL=c0|SR=c0 -c:a pcm_s32le", "s32"), ("ambisonic.mkv", "-ac 4 -c:a pcm_s16le", "s16"),
    ):
        yield clip("s-" + name, SOUND, how.replace("pan=22.2|FL=c0|BFR=c0", "'pan=22.2|FL=c0|BFR=c0'").replace("pan=7.1|FL=c0|SR=c0", "'pan=7.1|FL=c0|SR=c0'"),
                   expect)
    # Shapes, times and changes.
    for size in ("1x1", "2x2", "3x1", "1x7", "319x179", "1919x1079"):
        large = "-f lavfi -i testsrc=size=1920x1080:rate=25:duration=0.12"
        yield clip(f"size-{size}.mkv", large, f"-vf crop={size.replace('x', ':')} -c:v ffv1 -pix_fmt yuv420p", "yuv420p", size in ("1x1", "319x179"))
    yield clip("size-odd-h264.mp4", ODD, f"{x264} -pix_fmt yuv444p", "yuv444p")
    yield clip("size-odd-hevc.mp4", "-f lavfi -i testsrc2=size=54x38:rate=25:duration=0.2", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p", "yuv420p")
    yield clip("aspect.mkv", PICTURE, "-vf setsar=4/3 -c:v mpeg4", few=True)
    yield clip("aspect.mpg", PICTURE, "-aspect 16:9 -c:v mpeg2video -f mpeg")
    for turn in (90, 180, 270):
        yield made(f"turned-{turn}.mp4", f"ffmpeg -v error -y -i {{d}}/h264.mp4 -c copy -metadata:s:v rotate={turn} {{out}}", few=turn == 90)
    fields = "-f lavfi -i testsrc2=size=64x48:rate=50:duration=0.4"
    yield clip("fields-top.mpg", fields, "-vf interlace=tff -c:v mpeg2video -flags +ildct+ilme -f mpeg", few=True)
    yield clip("fields-bottom.mkv", fields, "-vf interlace=scan=bff -c:v mpeg2video -flags +ildct+ilme")
    yield clip("fields-h264.mkv", fields, "-vf interlace -c:v libx264 -preset ultrafast -x264-params tff=1")
    varies = "-vf \"select='not(mod(n,3))+not(mod(n,5))'\" -vsync vfr"
    second = "-f lavfi -i testsrc2=size=52x34:rate=25:duration=1"
    yield clip("varies.mkv", second, f"{varies} -c:v mpeg4", few=True)
    yield clip("varies.mp4", second, f"{varies} -c:v libx264 -preset ultrafast -bf 2")
    yield clip("varies.webm", second, f"{varies} -c:v libvpx -deadline realtime")
    yield clip("varies.ts", second, f"{varies} -c:v libx264 -preset ultrafast -f mpegts")
    yield clip("negative.mp4", BOTH, f"{x264} -c:a aac -output_ts_offset -0.1 -avoid_negative_ts disabled", few=True)
    yield clip("negative.mov", BOTH, f"{x264} -c:a pcm_s16le -output_ts_offset -0.3 -avoid_negative_ts disabled -use_editlist 0")
    yield clip("negative.flv", BOTH, "-c:v flv -c:a pcm_s16le -ar 44100 -output_ts_offset -0.1 -avoid_negative_ts disabled")
    yield clip("negative.mkv", BOTH, f"{x264} -c:a libopus -output_ts_offset -0.1 -avoid_negative_ts disabled")
    yield clip("late.ts", BOTH, "-c:v mpeg2video -c:a mp2 -output_ts_offset 36000 -f mpegts")
    yield clip("late.mpg", BOTH, "-c:v mpeg2video -c:a mp2 -output_ts_offset 36000 -f mpeg")
    yield clip("late.mkv", BOTH, "-c:v mpeg4 -c:a libopus -output_ts_offset 36000")
    yield clip("wraps.ts", BOTH, "-c:v mpeg2video -c:a mp2 -output_ts_offset 95442.6 -f mpegts")
    longer = f"{second} -f lavfi -i sine=duration=1:sample_rate=48000"
    yield clip("long.mp4", longer, "-c:v libx264 -preset ultrafast -bf 2 -g 12 -pix_fmt yuv420p -c:a aac")
    yield made("edited.mp4", "ffmpeg -v error -y -ss 0.3 -i {d}/long.mp4 -c copy {out}", few=True)
    yield made("edited-sound.mp4", "ffmpeg -v error -y -i {d}/long.mp4 -itsoffset 0.3 -i {d}/long.mp4 -map 0:v -map 1:a -c copy {out}")
    yield made("edited-picture.mp4", "ffmpeg -v error -y -itsoffset 0.3 -i {d}/long.mp4 -i {d}/long.mp4 -map 0:v -map 1:a -c copy {out}")
    yield made("edited.mov", "ffmpeg -v error -y -ss 0.5 -i {d}/long.mp4 -c copy {out}")
    yield clip("fragments.mp4", longer, "-c:v libx264 -preset ultrafast -bf 2 -g 12 -pix_fmt yuv420p -c:a aac -movflags +frag_keyframe+empty_moov")
    yield clip("small.ts", PICTURE, f"{x264} -pix_fmt yuv420p -f mpegts")
    yield clip("large.ts", "-f lavfi -i testsrc2=size=96x64:rate=25:duration=0.2", f"{x264} -pix_fmt yuv420p -output_ts_offset 0.2 -f mpegts")
    yield clip("deep.ts", PICTURE, f"{x264} -pix_fmt yuv422p10le -output_ts_offset 0.4 -f mpegts")
    yield made("size-changes.ts", "cat {d}/small.ts {d}/large.ts >{out}")
    yield made("format-changes.ts", "cat {d}/small.ts {d}/large.ts {d}/deep.ts {d}/small.ts >{out}", few=True)
    yield clip("one.mjpeg", PICTURE, "-c:v mjpeg -pix_fmt yuvj420p -f mjpeg")
    yield clip("two.mjpeg", PICTURE, "-c:v mjpeg -pix_fmt yuvj422p -f mjpeg")
    yield clip("three.mjpeg", "-f lavfi -i testsrc2=size=80x50:rate=25:duration=0.2", "-c:v mjpeg -pix_fmt yuvj444p -f mjpeg")
    yield made("changes.mjpeg", "cat {d}/one.mjpeg {d}/two.mjpeg {d}/three.mjpeg {d}/one.mjpeg >{out}", few=True)
    yield clip("full.mp4", PICTURE, f"{x264} -vf scale=out_range=full -pix_fmt yuv420p -color_range pc -colorspace bt709 -color_primaries bt709 -color_trc bt709")
    yield clip("wide-gamut.mkv", PICTURE, "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc")
    for place in ("left", "center", "topleft"):
        yield clip(f"chroma-{place}.mkv", PICTURE, f"-c:v libx264 -preset ultrafast -pix_fmt yuv420p -chroma_sample_location {place}")
    # Cover art is no film.
    cover = f"{SOUND} -i {{d}}/p-still.jpg -map 0 -map 1 -c:v copy -disposition:v attached_pic"
    for name, how in (("cover.mp3", "-c:a libmp3lame -id3v2_version 3"), ("cover.m4a", "-c:a aac"), ("cover.flac", "-c:a flac")):
        yield made(name, f"ffmpeg -v error -y {cover} {how} {{out}}", pictures=0, few=name == "cover.mp3")
    yield made("cover-and-film.mp4", "ffmpeg -v error -y -i {d}/p-still.jpg -i {d}/long.mp4 -map 1:v -map 1:a -map 0 -c copy -disposition:v:1 attached_pic {out}", pictures=25)
    yield made("cover-before-film.mkv", "ffmpeg -v error -y -i {d}/p-still.jpg -i {d}/long.mp4 -map 1 -c copy -attach {d}/p-still.jpg -metadata:s:t mimetype=image/jpeg {out}", pictures=25)


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def make(all_clips, folder):
    """One ffmpeg for all clips of the same inputs. What could not be made, with the reason."""
    missing = {}
    by_inputs = collections.OrderedDict()
    for each in all_clips:
        if not each.shell:
            by_inputs.setdefault(each.inputs, []).append(each)
    for inputs, group in by_inputs.items():
        for at in range(0, len(group), 40):
            chunk = group[at:at + 40]
            command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-bitexact"] + shlex.split(inputs)
            for each in chunk:
                command += shlex.split(each.how) + [f"{folder}/{each.name}"]
            if run(command).returncode == 0:
                continue
            for each in chunk:  # one of them can't be made: which?
                alone = run(["ffmpeg", "-nostdin", "-v", "error", "-y"] + shlex.split(inputs) + shlex.split(each.how) + [f"{folder}/{each.name}"])
                if alone.returncode != 0:
                    missing[each.name] = alone.stdout.strip().splitlines()[0][:150]
    for each in all_clips:
        if each.shell:
            done = run(["sh", "-c", each.shell.format(d=folder, out=f"{folder}/{each.name}")], stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                missing[each.name] = done.stdout.strip()[:150]
    return missing


def probe(path):
    """What ffprobe says: of the best picture stream and of the best sound, each frame."""
    told = json.loads(
        run(["ffprobe", "-v", "quiet", "-of", "json", "-show_entries",
             "format=start_time,duration:stream=index,codec_type:stream_disposition=attached_pic:frame=media_type,stream_index,"
             "best_effort_timestamp_time,pkt_duration_time,nb_samples,width,height,pix_fmt,sample_fmt,key_frame,interlaced_frame,channels",
             path]).stdout)
    chosen = {}
    for stream in told["streams"]:
        if stream.get("disposition", {}).get("attached_pic"):
            continue
        chosen.setdefault(stream["codec_type"], stream["index"])
    start = float(told["format"].get("start_time", 0))
    frames = {"video": [], "audio": []}
    for frame in told.get("frames", []):
        kind = frame.get("media_type")
        if kind in frames and frame["stream_index"] == chosen.get(kind):
            frames[kind].append(frame)
    return start, frames["video"], frames["audio"]


def plain(name):
    return name[:3] + name[4:] if name.startswith("yuvj") else name


def close(a, b):
    return abs(a - b) <= 2.5e-6


def differences(each, path, listed):
    """Where the list that film wrote is not what ffprobe says."""
    start, pictures, blocks = probe(path)
    got = {"picture": [], "sound": []}
    for line in listed:
        fields = line.split()
        got[fields[0]].append(fields[1:])
    if each.pictures is not None and len(got["picture"]) != each.pictures:
        yield f"{len(got['picture'])} pictures and not {each.pictures}"
    for kind, theirs in (("picture", pictures), ("sound", blocks)):
        ours = got[kind]
        if len(ours) != len(theirs):
            yield f"{len(ours)} of {kind} where ffprobe has {len(theirs)}"
            continue
        for number, (our, their) in enumerate(zip(ours, theirs)):
            what = f"{kind} {number}:"
            if "best_effort_timestamp_time" in their:
                at = float(their["best_effort_timestamp_time"]) - start
                if not close(float(our[1]), at):
                    yield f"{what} at {our[1]} and not {at:.6f}"
            lasts = float(their.get("pkt_duration_time", 0))
            if kind == "sound":
                if int(our[3]) != int(their["nb_samples"]) or int(our[5]) != int(their["channels"]):
                    yield f"{what} {our[3]} samples of {our[5]} channels and not {their['nb_samples']} of {their['channels']}"
                if not close(float(our[2]), int(our[3]) / int(our[4])):
                    yield f"{what} lasts {our[2]} for {our[3]} samples at {our[4]} Hz"
                if our[6] != their["sample_fmt"]:
                    yield f"{what} {our[6]} and not {their['sample_fmt']}"
                continue
            if lasts > 0 and not close(float(our[2]), lasts):
                yield f"{what} lasts {our[2]} and not {lasts}"
            if our[3] != f"{their['width']}x{their['height']}":
                yield f"{what} {our[3]} and not {their['width']}x{their['height']}"
            if our[4] != plain(their["pix_fmt"]) and "converted" not in our:
                yield f"{what} {our[4]} and not {their['pix_fmt']}"
            if ("key" in our) != (their["key_frame"] == 1) or ("interlaced" in our) != (their["interlaced_frame"] == 1):
                yield f"{what} key or interlaced: {' '.join(our)}"
    first = (pictures or blocks or [{}])[0]
    if each.expect and first.get("pix_fmt", first.get("sample_fmt")) != each.expect:
        yield f"the clip is {first.get('pix_fmt', first.get('sample_fmt'))} and was to be {each.expect}"


def verify(film, each, folder):
    path = f"{folder}/{each.name}"
    done = run([film, "--verify", "--max_frame_mib=8", f"--list={path}.list", path])
    faults = []
    if done.returncode != 0 or "verified   all " not in done.stdout or "threw the worker away" in done.stdout:
        said = [line for line in done.stdout.splitlines() if line.startswith("film: ")]
        faults.append(f"exit code {done.returncode}: {' '.join(said)[:300]}")
    listed = []
    if os.path.exists(f"{path}.list"):
        with open(f"{path}.list", encoding="ascii") as lines:
            listed = lines.read().splitlines()
    wrong = list(differences(each, path, listed))
    ways = {way: [int(n) for n in re.findall(rf"^{way} +(\d+) pictures and (\d+) blocks", done.stdout, re.M)[0]]
            for way in ("in place", "copied") if re.search(rf"^{way} ", done.stdout, re.M)}
    return each, faults + wrong[:3], listed, ways


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", required=True, help="the program, with film_worker beside it")
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--only", default="", help="the clips whose name matches")
    parser.add_argument("--record", default="", help="write the page")
    return parser.parse_args()


def main():
    arguments = parse()
    everything = list(clips())
    wanted = [each for each in everything if (each.few or not arguments.few) and re.search(arguments.only, each.name)]
    needed = "".join(each.shell for each in wanted)
    parts = [each for each in everything if each in wanted or f"{{d}}/{each.name}" in needed]
    parts = [each for each in everything if each in parts or any(f"{{d}}/{each.name}" in part.shell for part in parts)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        missing = make(parts, folder)
        made_in = time.monotonic() - began
        there = [each for each in wanted if each.name not in missing]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda each: verify(arguments.film, each, folder), there))
    faulty = [(each, faults) for each, faults, _, _ in results if faults]
    for name, why in missing.items():
        print(f"not made: {name}: {why}")
    for each, faults in faulty:
        for fault in faults:
            print(f"FAULT {each.name}: {fault}")
    pictures = sum(line.startswith("picture") for _, _, listed, _ in results for line in listed)
    blocks = sum(line.startswith("sound") for _, _, listed, _ in results for line in listed)
    print(f"{len(results)} clips, {pictures} pictures and {blocks} blocks of sound, {len(faulty)} clips with faults; "
          f"made in {made_in:.0f} s, all in {time.monotonic() - began:.0f} s")
    if arguments.record and not faulty:
        record(arguments, results, missing, pictures, blocks)
    return 1 if faulty or not results else 0


def wrapped(text):
    return textwrap.fill(text, 140, break_on_hyphens=False)


def record(arguments, results, missing, pictures, blocks):
    formats = {"picture": {}, "sound": {}}
    in_place = [0, 0]
    copied = [0, 0]
    for _, _, listed, ways in results:
        for line in listed:
            fields = line.split()
            name = fields[5] if fields[0] == "picture" else fields[7]
            formats[fields[0]][name] = True
        for total, way in ((in_place, "in place"), (copied, "copied")):
            for i in range(2):
                total[i] += ways.get(way, [0, 0])[i]
    with open(arguments.record, "w", encoding="ascii") as page:
        version = run(["ffmpeg", "-version"]).stdout.split()[2]
        revision = run(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip()
        page.write(f"""# Clips through the film example, compared with ffprobe

`examples/film/verify_clips.py --film FILM --record docs/runs/clips.md` on {time.strftime('%F', time.gmtime())}, commit {revision}, ffmpeg {version}, Linux {platform.release()}.

**{len(results)} clips, {pictures} pictures and {blocks} blocks of sound: `film --verify` is identical for each, with one worker, and number, time, length,
size, format, key and interlacing of each picture, and number, time, samples, channels and format of each block, are ffprobe's.** {in_place[0]} pictures and
{in_place[1]} blocks were sent where libav had decoded them; {copied[0]} and {copied[1]} went through the ring: raw video, whose decoder hands out the packet's own memory, and
what is converted because no receiver knows it, palettes and single bits.

{wrapped(f"Pictures arrived as {len(formats['picture'])} formats: {', '.join(sorted(formats['picture']))}.")}

Sound arrived as {', '.join(sorted(formats['sound']))}.

{wrapped(f"The clips: {', '.join(each.name for each, _, _, _ in results)}.")}

No file that this libav opens by itself holds NV16, NV20, NV24, NV42, P010 to P416, Y210, AYUV64 or X2RGB10,
and it does not say of any that its alpha is premultiplied.
""")
        if missing:
            page.write("\nNot made by this ffmpeg: " + "; ".join(f"{name} ({why})" for name, why in missing.items()) + ".\n")


if __name__ == "__main__":
    sys.exit(main())
