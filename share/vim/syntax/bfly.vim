" Highlighting of networks (.bfly).
if exists("b:current_syntax")
  finish
endif

syntax keyword bflyStatement input output return shared
syntax keyword bflyDefinition block network const param assert
syntax keyword bflyConditional if else
syntax keyword bflyRepeat for in
syntax keyword bflyConstant true false none
syntax keyword bflyType f16 f32 i32 u8
syntax keyword bflyOperator @OPERATORS@
syntax keyword bflyInclude include nextgroup=bflyFile skipwhite
syntax match bflyFile "<[^>]*>" contained
syntax match bflyLabel "\<\h\w*\(\[[^]]*\]\)\?:\ze\s*\h\w*\s*("
syntax match bflyNumber "\<\d\+\(\.\d\+\)\?\([eE][-+]\?\d\+\)\?\>"
syntax region bflyString start=+"+ skip=+\\"+ end=+"+ oneline
syntax match bflyComment "//.*$" contains=bflyTodo
syntax region bflyComment start="/\*" end="\*/" contains=bflyTodo
syntax keyword bflyTodo NOTE contained

highlight default link bflyStatement Statement
highlight default link bflyDefinition Structure
highlight default link bflyConditional Conditional
highlight default link bflyRepeat Repeat
highlight default link bflyConstant Constant
highlight default link bflyType Type
highlight default link bflyOperator Function
highlight default link bflyInclude Include
highlight default link bflyFile String
highlight default link bflyLabel Label
highlight default link bflyNumber Number
highlight default link bflyString String
highlight default link bflyComment Comment
highlight default link bflyTodo Todo

let b:current_syntax = "bfly"
