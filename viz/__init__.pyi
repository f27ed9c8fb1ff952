# What `rnncore.viz` exports, for type checkers: at run time these names are found in their folders
# (measures, plots) or imported on first access (the rest).
from . import measures as measures
from . import plots as plots
from . import style as style
from .debugger import Breakpoint as Breakpoint
from .debugger import Debugger as Debugger
from .debugger import replay as replay
from .diagnosis import Diagnosis as Diagnosis
from .diagnosis import Finding as Finding
from .diagnosis import diagnose as diagnose
from .page import explore as explore
from .recorder import Recorder as Recorder
from .recorder.runfile import Run as Run
from .reports import report as report
from .watches import Explode as Explode
from .watches import Hit as Hit
from .watches import Moment as Moment
from .watches import NaN as NaN
from .watches import Spike as Spike
from .watches import Stuck as Stuck
from .watches import Vanish as Vanish
from .watches import Watch as Watch
from .watches import When as When

# Plots before measures: a file of the plots may have the name of a measure, and pyright would take viz.horizon,
# say, for the file.
from .plots import *  # noqa: F403  # isort: skip
from .measures import *  # noqa: F403  # isort: skip
