# The public names, read by type checkers and, to import each when it is first asked for, by
# __init__.py.
from .config.loading import load_workspace as load_workspace
from .config.loading import preset_config as preset_config
from .config.model import Config as Config
from .config.workspace import Workspace as Workspace
from .controls.asked_expression import AskedExpression as AskedExpression
from .controls.expression_change import ExpressionChange as ExpressionChange
from .controls.expression_files import read_expression as read_expression
from .corpus.preprocessing.preprocess import preprocess as preprocess
from .corpus.preprocessing.single_photo import maps_of_scene as maps_of_scene
from .corpus.preprocessing.single_photo import scene_of_photo as scene_of_photo
from .corpus.reader import Corpus as Corpus
from .corpus.reconstruction.reconstruct import reconstruct as reconstruct
from .diffusion.pipeline import GuidedStableDiffusionPipeline as GuidedStableDiffusionPipeline
from .errors import RunError as RunError
from .errors import SfeError as SfeError
from .errors import UserError as UserError
from .evaluation.compare import compare as compare
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.protocol import evaluate_protocol as evaluate_protocol
from .packaging.package import package_checkpoint as package_checkpoint
from .reporting import Reporter as Reporter
from .runs.launch import launch as launch
from .sampling.editing.edit import edit as edit
from .sampling.editing.request import Edit as Edit
from .sampling.editing.request import EditRequest as EditRequest
from .sampling.generate import generate as generate
from .sampling.sweep import Request as Request
from .sampling.triptych import make_triptychs as make_triptychs
from .synthesis.photos import synthesize as synthesize
from .training.options import TrainOptions as TrainOptions

__version__: str
