/**
 * The faults of the network between the processes: cuts of every shape, made by what their users may
 * publish.
 *
 * `leaderIn` says on which side the leader is: coverage wants it on either.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

/** A cut whose directions are a function of the leader and the others, all given by ids. */
function cutFault(name, leaderIn, directionsOf) {
  async function strike({ cluster, random, note }) {
    const leader = (await cluster.leader()).id
    const others = random.shuffle(cluster.ids.filter(id => id !== leader))
    const directions = directionsOf({ leader, others, random })
    try {
      await cluster.network.cut(directions, await cluster.incarnations())
      note({ leaderIn, leader, directions })
      await delay(random.between(1500, 5000))
    } finally {
      await cluster.network.heal()
    }
  }
  return { name, leaderIn, directionsOf, strike, touchesNetwork: true, channels: ['redis', 'tcp'] }
}

/** Every direction between two groups. */
function between(group, rest) {
  const pairs = group.flatMap(one => rest.map(other => [one, other]))
  return pairs.flatMap(([one, other]) => [
    [one, other],
    [other, one]
  ])
}

/** How many of so many are a minority, at most. */
function minorityOf(size) {
  return Math.ceil(size / 2) - 1
}

const majority = cutFault('cut-leader-in-majority', 'majority', ({ leader, others }) => {
  const away = others.slice(0, minorityOf(others.length + 1))
  return between(away, [leader, ...others.slice(away.length)])
})

const minority = cutFault('cut-leader-in-minority', 'minority', ({ leader, others }) => {
  const besides = minorityOf(others.length + 1) - 1
  return between([leader, ...others.slice(0, besides)], others.slice(besides))
})

/** The leader hears, and is not heard; or is heard, and hears no other node. */
const oneWay = cutFault('cut-one-way', 'minority', ({ leader, others, random }) =>
  random.chance(0.5) ? others.map(other => [leader, other]) : others.map(other => [other, leader])
)

/** The leader and one other don't hear each other; both hear all others. */
const partial = cutFault('cut-partial', 'majority', ({ leader, others }) =>
  between([leader], others.slice(0, 1))
)

/** Two sides, with one process in the middle, not the leader, that hears both. */
const bridge = cutFault('cut-bridge', 'majority', ({ leader, others }) => {
  const [, ...rest] = others
  const half = Math.floor(rest.length / 2)
  return between([leader, ...rest.slice(0, half)], rest.slice(half))
})

module.exports = [majority, minority, oneWay, partial, bridge]
