import conflux from './index.js'

export default conflux
