/**
 * Arrays as PostgreSQL keeps them, for parameters that are cast to their type. A driver would write them as literals,
 * whose every element is escaped here and read again there: that costs more than storing it.
 */
interface ElementType<Value> {
  /** Of `pg_type`. */
  id: number
  sizeOf: (value: Value) => number
  write: (array: Buffer, value: Value, at: number) => void
}

/** Of PostgreSQL's time, which begins in 2000. */
const epochMs = Date.UTC(2000, 0)
const wordRange = 2 ** 32

export const textArray = createEncoder<string>({
  id: 25,
  sizeOf: (value) => Buffer.byteLength(value),
  write: (array, value, at) => void array.write(value, at),
})

/** Of bytes in hex: a short text costs less than a buffer. */
export const byteaArray = createEncoder<string>({
  id: 17,
  sizeOf: (value) => value.length / 2,
  write: (array, value, at) => void array.write(value, at, 'hex'),
})

/** Also of `bytea`: what is long is only copied. */
export const bufferArray = createEncoder<Buffer>({
  id: 17,
  sizeOf: (value) => value.length,
  write: (array, value, at) => void value.copy(array, at),
})

export const uuidArray = createEncoder<string>({
  id: 2950,
  sizeOf: () => 16,
  write: (array, value, at) => void array.write(digitsOf(value), at, 'hex'),
})

/** What is written together mostly has one token. */
let latest = { uuid: '', digits: '' }

function digitsOf(uuid: string): string {
  if (latest.uuid !== uuid) latest = { uuid, digits: uuid.replaceAll('-', '') }
  return latest.digits
}

export const smallintArray = createEncoder<number>({
  id: 21,
  sizeOf: () => 2,
  write: (array, value, at) => void array.writeInt16BE(value, at),
})

export const integerArray = createEncoder<number>({
  id: 23,
  sizeOf: () => 4,
  write: (array, value, at) => void array.writeInt32BE(value, at),
})

export const bigintArray = createEncoder<number>({ id: 20, sizeOf: () => 8, write: writeBigint })

export const timestampArray = createEncoder<Date>({
  id: 1184,
  sizeOf: () => 8,
  write: (array, value, at) => writeBigint(array, (value.getTime() - epochMs) * 1000, at),
})

function writeBigint(array: Buffer, value: number, at: number): void {
  const high = Math.floor(value / wordRange)
  array.writeInt32BE(high, at)
  array.writeUInt32BE(value - high * wordRange, at + 4)
}

const headerBytes = 20

function createEncoder<Value>({ id, sizeOf, write }: ElementType<Value>) {
  return (values: readonly (Value | null)[]): Buffer => {
    let total = headerBytes
    for (const value of values) total += 4 + (value === null ? 0 : sizeOf(value))
    const array = startArray(id, values.length, total)
    let at = headerBytes
    for (const value of values) {
      const size = value === null ? -1 : sizeOf(value)
      at = array.writeInt32BE(size, at)
      if (value === null) continue
      write(array, value, at)
      at += size
    }
    return array
  }
}

/** One dimension, counted from 1; whether there are nulls is for readers of the array, not for PostgreSQL. */
function startArray(type: number, length: number, size: number): Buffer {
  const array = Buffer.allocUnsafe(size)
  let at = 0
  for (const word of [1, 1, type, length, 1]) at = array.writeInt32BE(word, at)
  return array
}

type Encoder<Value> = (values: readonly (Value | null)[]) => Buffer

/** One of the columns that `unnest` puts side by side: it fills up shorter ones with nulls, so one of nulls is empty. */
export function columnArray<Value>(encode: Encoder<Value>, values: readonly (Value | null)[]): Buffer {
  return encode(values.every((value) => value === null) ? [] : values)
}
