// Numbers, read from decimal text as every SDK reads them.

/** The result of reading an integer. */
export class Integer {
  constructor(
    /** True if the text is digits after an optional minus sign, within 64 bits. */
    public ok: bool,
    public value: i64,
  ) {}

  /** Reads a text as an `i64`. */
  static parse(text: string): Integer {
    const negative = text.length > 0 && text.charCodeAt(0) == 0x2d;
    return Integer.scan(text, negative, negative ? 0x8000000000000000 : 0x7fffffffffffffff);
  }

  /** Reads a text as a `u64`, whose bits are in `value`. */
  static parseUnsigned(text: string): Integer {
    const negative = text.length > 0 && text.charCodeAt(0) == 0x2d;
    return Integer.scan(text, negative, negative ? 0 : u64.MAX_VALUE);
  }

  private static scan(text: string, negative: bool, limit: u64): Integer {
    let sum: u64 = 0;
    let at = negative ? 1 : 0;
    if (at == text.length) return new Integer(false, 0);
    for (; at < text.length; at++) {
      const digit = <u64>text.charCodeAt(at) - 0x30;
      if (digit > 9 || digit > limit || sum > (limit - digit) / 10) return new Integer(false, 0);
      sum = sum * 10 + digit;
    }
    return new Integer(true, <i64>(negative ? 0 - sum : sum));
  }
}

/** The result of reading a number that may have a fraction. */
export class Float {
  constructor(
    /** True if the text is a number, and one that is neither too large nor too small. */
    public ok: bool,
    /** Otherwise NaN, an infinity if the number is too large, or 0 if it is too small. */
    public value: f64,
  ) {}

  /** Reads a text as an `f64`: digits with an optional sign, point and exponent, or an infinity. */
  static parse(text: string): Float {
    return new Decimal(text).nearest(53, -1022);
  }

  /** Reads a text as an `f32`. */
  static parseSingle(text: string): Float {
    return new Decimal(text).nearest(24, -126);
  }
}

/** Significant digits to keep. Two doubles and what lies between them differ in the first 768. */
const DIGITS_MAX: i32 = 800;

/** An exponent beyond which every number is too large or too small, whatever its digits. */
const EXPONENT_END: i32 = 100_000;

/** A number as it is written: `digits` as an integer, times ten to the power of `exponent`. */
class Decimal {
  private valid: bool = false;
  private infinite: bool = false;
  private negative: bool = false;
  private digits: Array<u8> = [];
  private exponent: i32 = 0;

  constructor(text: string) {
    this.valid = this.read(text);
  }

  /** Returns true if the text is a number. */
  private read(text: string): bool {
    let at = 0;
    const first = char(text, 0);
    if (first == 0x2d || first == 0x2b) {
      this.negative = first == 0x2d;
      at++;
    }
    const name = text.length - at == 3 || text.length - at == 8 ? text.substring(at).toLowerCase() : "";
    if (name == "inf" || name == "infinity") {
      this.infinite = true;
      return true;
    }
    let seen = false;
    let pointed = false;
    for (; at < text.length; at++) {
      const digit = char(text, at);
      if (digit == 0x2e && !pointed) {
        pointed = true;
      } else if (digit >= 0x30 && digit <= 0x39) {
        seen = true;
        this.append(<u8>(digit - 0x30), pointed);
      } else {
        break;
      }
    }
    if (!seen) return false;
    if (at < text.length) {
      if ((char(text, at++) | 0x20) != 0x65) return false;
      const sign = char(text, at);
      if (sign == 0x2d || sign == 0x2b) at++;
      if (at == text.length) return false;
      let shift = 0;
      for (; at < text.length; at++) {
        const digit = char(text, at) - 0x30;
        if (digit < 0 || digit > 9) return false;
        if (shift < EXPONENT_END) shift = shift * 10 + digit;
      }
      this.exponent += sign == 0x2d ? -shift : shift;
    }
    return true;
  }

  private append(digit: u8, fraction: bool): void {
    const len = this.digits.length;
    if (len == 0 && digit == 0) {
      this.exponent -= i32(fraction);
    } else if (len < DIGITS_MAX) {
      this.digits.push(digit);
      this.exponent -= i32(fraction);
    } else {
      // What is left out only matters for being more than nothing.
      if (digit != 0) this.digits[len - 1] |= 1;
      this.exponent += i32(!fraction);
    }
  }

  /** The nearest number with `bits` bits, half to even, and exponents of two from `least` on. */
  nearest(bits: i32, least: i32): Float {
    if (!this.valid) return new Float(false, NaN);
    const sign: f64 = this.negative ? -1 : 1;
    if (this.infinite) return new Float(true, sign * Infinity);
    const len = this.digits.length;
    if (len == 0) return new Float(true, sign * 0);
    // Neither the powers of ten nor the time they take may grow with a foreign exponent.
    if (this.exponent + len > 400) return new Float(false, sign * Infinity);
    if (this.exponent + len < -400) return new Float(false, 0);
    if (bits == 53 && len <= 15 && abs(this.exponent) <= 22) return new Float(true, sign * this.exact());
    const numerator = new Natural();
    for (let i = 0; i < len; i++) numerator.multiply(10, this.digits[i]);
    const denominator = new Natural();
    denominator.multiply(0, 1);
    const scaled = this.exponent < 0 ? denominator : numerator;
    for (let i = abs(this.exponent); i > 0; i--) scaled.multiply(10, 0);

    // The number is numerator / denominator * 2^power, with 1 <= numerator / denominator < 2.
    let power = numerator.bitLength - denominator.bitLength;
    if (power > 0) denominator.shift(power);
    else numerator.shift(-power);
    if (numerator.compare(denominator) < 0) {
      numerator.shift(1);
      power--;
    }
    if (power > 1 - least) return new Float(false, sign * Infinity);
    const count = power < least ? bits - (least - power) : bits;
    if (count < 0) return new Float(false, 0);
    let sum: u64 = 0;
    for (let i = 0; i < count; i++) {
      sum <<= 1;
      if (numerator.compare(denominator) >= 0) {
        numerator.subtract(denominator);
        sum |= 1;
      }
      numerator.shift(1);
    }
    const rest = numerator.compare(denominator);
    if (rest > 0 || (rest == 0 && (sum & 1) == 1)) sum++;
    const value = <f64>sum * powerOfTwo(power - count + 1);
    if (value >= 2 * powerOfTwo(1 - least)) return new Float(false, sign * Infinity);
    return new Float(sum > 0, sign * value);
  }

  /** The nearest `f64` if digits and power of ten are both an `f64`: then one operation rounds once. */
  private exact(): f64 {
    let sum: f64 = 0;
    for (let i = 0; i < this.digits.length; i++) sum = sum * 10 + this.digits[i];
    let power: f64 = 1;
    for (let i = abs(this.exponent); i > 0; i--) power *= 10;
    return this.exponent < 0 ? sum / power : sum * power;
  }
}

/** The character at a place, or 0 after the end. */
function char(text: string, at: i32): i32 {
  return at < text.length ? text.charCodeAt(at) : 0;
}

/** Two to a power from -1074 to 1023. */
function powerOfTwo(power: i32): f64 {
  const bits: u64 = power < -1022 ? <u64>1 << (power + 1074) : <u64>(power + 1023) << 52;
  return reinterpret<f64>(bits);
}

/** A natural number of any size. */
class Natural {
  /** 32 bits each, the lowest first; the highest is not 0. */
  private parts: Array<u32> = [];

  get bitLength(): i32 {
    const len = this.parts.length;
    return len > 0 ? len * 32 - clz(this.parts[len - 1]) : 0;
  }

  /** Multiplies by a factor, then adds. */
  multiply(factor: u32, added: u32): void {
    let carry: u64 = added;
    for (let i = 0; i < this.parts.length; i++) {
      carry += <u64>this.parts[i] * factor;
      this.parts[i] = <u32>carry;
      carry >>= 32;
    }
    if (carry > 0) this.parts.push(<u32>carry);
  }

  /** Multiplies by two to the power of `bits`. */
  shift(bits: i32): void {
    const low = <u64>(bits & 31);
    let carry: u64 = 0;
    for (let i = 0; i < this.parts.length; i++) {
      carry |= <u64>this.parts[i] << low;
      this.parts[i] = <u32>carry;
      carry >>= 32;
    }
    if (carry > 0) this.parts.push(<u32>carry);
    for (let i = bits >> 5; i > 0; i--) this.parts.unshift(0);
  }

  /** Below 0, 0, or above 0. */
  compare(other: Natural): i32 {
    if (this.parts.length != other.parts.length) return this.parts.length - other.parts.length;
    for (let i = this.parts.length - 1; i >= 0; i--) {
      const left = this.parts[i];
      const right = other.parts[i];
      if (left != right) return left > right ? 1 : -1;
    }
    return 0;
  }

  /** Subtracts a number that is not larger. */
  subtract(other: Natural): void {
    let borrow: i64 = 0;
    for (let i = 0; i < this.parts.length; i++) {
      borrow += <i64>this.parts[i] - (i < other.parts.length ? <i64>other.parts[i] : 0);
      this.parts[i] = <u32>borrow;
      borrow >>= 32;
    }
    while (this.parts.length > 0 && this.parts[this.parts.length - 1] == 0) this.parts.pop();
  }
}
