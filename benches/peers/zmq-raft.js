module.exports = { name: 'zmq-raft', title: 'zmq-raft', promise: '', missing: () => 'not written yet' }
