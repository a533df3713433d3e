"use strict";
// Arrays of the payload: little-endian numbers in base64, with a scale and offsets where they were rounded to integers.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

  /** Base64 text -> Uint8Array. */
  function bytesOf(text) {
    const value = new Uint8Array(128);
    for (let i = 0; i < DIGITS.length; i += 1) value[DIGITS.charCodeAt(i)] = i;
    const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
    const bytes = new Uint8Array((text.length / 4) * 3 - padding);
    for (let i = 0, at = 0; i < text.length; i += 4) {
      let word = 0;
      for (let k = 0; k < 4; k += 1) word = (word << 6) | value[text.charCodeAt(i + k) & 127];
      if (at < bytes.length) bytes[at++] = (word >> 16) & 255;
      if (at < bytes.length) bytes[at++] = (word >> 8) & 255;
      if (at < bytes.length) bytes[at++] = word & 255;
    }
    return bytes;
  }

  /** The number that 16 bits stand for (IEEE 754 binary16). */
  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  const READERS = {
    f32: [4, (view, at) => view.getFloat32(at, true)],
    f16: [2, (view, at) => half(view.getUint16(at, true))],
    i16: [2, (view, at) => view.getInt16(at, true)],
    u8: [1, (view, at) => view.getUint8(at)],
  };

  /** A packed array -> {shape, data: Float64Array}. Throws an Error for another kind, or a length that does not fit. */
  function decode(packed) {
    const reader = READERS[packed.dtype];
    if (!reader) throw new Error(`an array of unknown kind ${packed.dtype}`);
    const [size, read] = reader;
    const bytes = bytesOf(packed.data);
    const count = packed.shape.reduce((a, b) => a * b, 1);
    if (bytes.length !== count * size) throw new Error("an array is not as long as its shape says");
    const view = new DataView(bytes.buffer);
    const data = new Float64Array(count);
    const scale = packed.scale ?? 1;
    const offset = packed.offset ?? [];
    const last = packed.shape[packed.shape.length - 1] ?? 1;
    for (let i = 0; i < count; i += 1) {
      data[i] = scale * read(view, i * size) + (offset.length > 1 ? offset[i % last] : (offset[0] ?? 0));
    }
    return { shape: packed.shape, data };
  }

  Object.assign(numerics, { bytesOf, half, decode });
})((globalThis.dmdlab ??= {}));
