// The same function, and the same native addon, for `import conflux from 'conflux'`.
import conflux from './index.js'

export default conflux
