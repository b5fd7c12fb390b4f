"""Real data: files and their readers, and batches that are pure functions of a position, all in NumPy."""

from jaxrnn.data.alphabet import Alphabet as Alphabet
from jaxrnn.data.buckets import Buckets as Buckets
from jaxrnn.data.buckets import lengths as lengths
from jaxrnn.data.buckets import next_step as next_step
from jaxrnn.data.chorales import jsb_chorales as jsb_chorales
from jaxrnn.data.chorales import piano_roll as piano_roll
from jaxrnn.data.files import locate as locate
from jaxrnn.data.idx import read_idx as read_idx
from jaxrnn.data.mnist import LabelledImages as LabelledImages
from jaxrnn.data.mnist import fixed_permutation as fixed_permutation
from jaxrnn.data.mnist import mnist as mnist
from jaxrnn.data.mnist import pixel_sequences as pixel_sequences
from jaxrnn.data.positions import Source as Source
from jaxrnn.data.positions import batches as batches
from jaxrnn.data.segments import Segments as Segments
from jaxrnn.data.series import Standardised as Standardised
from jaxrnn.data.series import TimeSeries as TimeSeries
from jaxrnn.data.series import standardise as standardise
from jaxrnn.data.series import time_series as time_series
from jaxrnn.data.shuffled import Shuffled as Shuffled
from jaxrnn.data.shuffled import many_to_one as many_to_one
from jaxrnn.data.text import read_bytes as read_bytes
from jaxrnn.data.text import read_text as read_text
from jaxrnn.data.text import split_by_position as split_by_position
from jaxrnn.data.text import tinyshakespeare as tinyshakespeare
from jaxrnn.data.windows import Windows as Windows
