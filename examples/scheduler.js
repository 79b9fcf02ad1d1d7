// scheduler.js: a job that runs on one node at a time, and continues elsewhere when that node goes away
//
// Every node has the timer, the leader's does the work. What has been done is in the replicated state: a new leader
// continues where the old one stopped, and no run is taken twice.
const conflux = require('conflux')

const RUNS = 6

function start(id) {
  const node = conflux({
    id,
    clusterSize: 3,
    channel: { name: 'memory', channelName: 'scheduler-example' },
    methods: {
      take(run, by) {
        const next = this.getProvisionalState().length + 1
        return run === next ? { run, by } : new Error(`run ${run} is taken, the next is ${next}`)
      }
    },
    reduce(runs = [], action) {
      return action ? [...runs, action] : runs
    }
  })

  const timer = setInterval(async () => {
    const run = node.getState().length + 1
    if (node.status().role !== 'leader' || run > RUNS) return
    try {
      await node.perform('take', [run, id])
      console.log(`run ${run} is done by ${id}`)
    } catch (error) {
      if (error.outcome !== 'refused') console.error(error)
    }
  }, 50)

  return { node, stop: () => (clearInterval(timer), node.close()) }
}

const schedulers = ['a', 'b', 'c'].map(start)

// After three runs the leader goes; then wait for the rest to be done by another.
let hasLeft = false
schedulers.forEach(scheduler => {
  scheduler.node.subscribe(async () => {
    const runs = scheduler.node.getState()
    if (runs.length === RUNS / 2 && scheduler.node.status().role === 'leader' && !hasLeft) {
      hasLeft = true
      console.log(`${scheduler.node.status().id} leaves`)
      scheduler.stop()
    }
    if (runs.length === RUNS) {
      scheduler.stop()
    }
  })
})
