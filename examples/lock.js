// lock.js: a lock that is held by exactly one of many owners, from any node
//
// Three nodes in one process, to be run alone: node examples/lock.js. In production each node is a process of its own and
// the channel is Redis.
const conflux = require('conflux')

const nodes = ['a', 'b', 'c'].map(id =>
  conflux({
    id,
    clusterSize: 3,
    channel: { name: 'memory', channelName: 'lock-example' },
    methods: {
      // The provisional state contains the grants that are still in flight, so two can never get the lock.
      acquire(owner) {
        const { holder } = this.getProvisionalState()
        return holder ? new Error(`held by ${holder}`) : { type: 'ACQUIRED', owner }
      },
      release(owner) {
        return this.getProvisionalState().holder === owner ? { type: 'RELEASED' } : null
      }
    },
    reduce(state = { holder: null, grants: 0 }, action) {
      switch (action?.type) {
        case 'ACQUIRED':
          return { holder: action.owner, grants: state.grants + 1 }
        case 'RELEASED':
          return { ...state, holder: null }
        default:
          return state
      }
    }
  })
)

async function main() {
  const workers = Array.from({ length: 300 }, (_, i) => `worker ${i}`)
  const attempts = await Promise.allSettled(
    workers.map((worker, i) => nodes[i % 3].perform('acquire', [worker]))
  )
  const granted = attempts.filter(({ status }) => status === 'fulfilled').map(({ value }) => value.owner)
  console.log(`${workers.length} workers asked at three nodes at once; the lock was granted to: ${granted}`)
  if (granted.length !== 1) process.exitCode = 1

  const refusal = attempts.find(({ status }) => status === 'rejected').reason
  console.log(`all others were refused: ${refusal.message} (outcome: ${refusal.outcome})`)

  await nodes[0].perform('release', granted)
  console.log(
    `${granted} let it go, the next to ask gets it:`,
    await nodes[2].perform('acquire', ['worker 7'])
  )
  await Promise.all(nodes.map(node => node.close()))
}

main()
