// A table from names to values, as a part of a state: JSON that is never changed in place.
//
// Used by recipes whose tables may become large. A plain object would be copied wholly for each change; this one
// consists of shards, of which a change copies one.

'use strict'

const { hash } = require('./hash')

const { hasOwn, keys } = Object

const SHARDS = 64

const EMPTY = Object.freeze({})

const shardOf = name => String(hash(name) % SHARDS)

/** The value, or undefined. */
function get(table, name) {
  const shard = shardOf(name)
  return hasOwn(table, shard) && hasOwn(table[shard], name) ? table[shard][name] : undefined
}

/** The table with another value; undefined removes the name. */
function set(table, name, value) {
  const number = shardOf(name)
  const shard = hasOwn(table, number) ? table[number] : EMPTY
  if (value !== undefined) return { ...table, [number]: { ...shard, [name]: value } }
  if (!hasOwn(shard, name)) return table
  return withShard(table, number, without(shard, name))
}

function withShard(table, number, shard) {
  return keys(shard).length === 0 ? without(table, number) : { ...table, [number]: shard }
}

function without(object, key) {
  const { [key]: _, ...rest } = object
  return rest
}

/** Removes what is not kept from the shard of this name, which a change of the name copies anyway. */
function sweep(table, name, isKept) {
  const number = shardOf(name)
  if (!hasOwn(table, number)) return table
  const shard = table[number]
  const kept = Object.entries(shard).filter(([, value]) => isKept(value))
  return kept.length === keys(shard).length ? table : withShard(table, number, Object.fromEntries(kept))
}

/** All `[name, value]`, in an order that is the same on all nodes. */
function entries(table) {
  return keys(table).flatMap(number => keys(table[number]).map(name => [name, table[number][name]]))
}

module.exports = { entries, get, set, sweep }
