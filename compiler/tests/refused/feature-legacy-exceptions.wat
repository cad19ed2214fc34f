(module binary
  "\00asm\01\00\00\00"
  "\01\04\01\60\00\00"          ;; type () -> ()
  "\03\02\01\00"                ;; one function of it
  "\07\07\01\03run\00\00"       ;; exported as `run`
  "\0a\08\01\06\00"             ;; without locals
  "\06\40\19\0b\0b")            ;; try catch_all end end
