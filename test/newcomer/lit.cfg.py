# The mistakes that a newcomer is most likely to make, a file each, with all that is said about it.
import os

lit_config.load_config(config, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lit",
                                            "lit.cfg.py"))
config.name = "newcomer"
config.test_source_root = os.path.dirname(os.path.abspath(__file__))
config.test_exec_root = os.path.join(os.path.dirname(config.test_exec_root), "newcomer")
